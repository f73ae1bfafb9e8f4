//! Types that the kernel program and the daemon share; none is written yet.
#![no_std]
