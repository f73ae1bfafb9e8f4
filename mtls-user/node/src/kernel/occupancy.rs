//! The ring buffer's fill level, from the positions that the kernel shares with its reader.

use std::{
    io,
    num::NonZeroUsize,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

use aya::maps::{MapData, RingBuf};
use mtls_core::record::RingStats;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// The pages with the reader's position and the kernel's, in this order.
#[derive(Debug)]
pub(super) struct Occupancy {
    pages: NonNull<u8>,
    page: usize,
    bytes: u64,
    /// The maximum so far.
    peak: u64,
}

// SAFETY: the memory is shared with the kernel, and only read here.
unsafe impl Send for Occupancy {}

impl Occupancy {
    /// Maps the positions of a ring of this many bytes.
    pub(super) fn new(ring: &RingBuf<MapData>, bytes: u32) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4_096) as usize;
        let both = NonZeroUsize::new(2 * page).ok_or_else(|| io::Error::other("no pages"))?;
        let (access, shared) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping, which nothing else refers to.
        let pages = unsafe { mmap(None, both, access, shared, ring, 0) }?;
        Ok(Self {
            pages: pages.cast(),
            page,
            bytes: bytes.into(),
            peak: 0,
        })
    }

    /// Bytes waiting to be read. Both positions only increase.
    fn waiting(&self) -> u64 {
        // SAFETY: each page begins with its position, and is mapped as long as `self` lives.
        let position = |page: usize| unsafe {
            let word = self.pages.add(page * self.page).cast::<AtomicUsize>();
            word.as_ref().load(Ordering::Acquire)
        };
        // The reader's position first: what it reads in the meantime is not counted twice.
        let read = position(0);
        position(1).wrapping_sub(read) as u64
    }

    /// Updates the maximum.
    pub(super) fn look(&mut self) {
        self.peak = self.peak.max(self.waiting());
    }

    /// The current fill level and the maximum.
    pub(super) fn stats(&self) -> RingStats {
        let waiting = self.waiting();
        RingStats {
            bytes: self.bytes,
            waiting,
            peak: self.peak.max(waiting),
        }
    }
}

impl Drop for Occupancy {
    fn drop(&mut self) {
        // SAFETY: the result of `mmap`, unmapped once.
        let _ = unsafe { munmap(self.pages.cast(), 2 * self.page) };
    }
}
