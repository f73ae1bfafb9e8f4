//! Types shared by the kernel program and the daemon: map keys and values, events, counters.
//!
//! Every type is `repr(C)` without implicit padding, in host byte order.
#![no_std]

#[cfg(feature = "bench")]
pub mod bench;
pub mod counter;
pub mod event;
pub mod flow;
pub mod packet;

pub use counter::{Counter, Interface};
pub use event::{Event, Head, Piece};
pub use flow::{Flow, Half, Key};
