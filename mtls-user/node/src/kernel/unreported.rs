//! Connections with undelivered events, looked up in the kernel's table: those that are open and
//! silent, and those that lost samples, possibly including their end.

use std::{
    io,
    num::NonZeroUsize,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use aya::maps::{MapData, MapInfo};
use mtls_ebpf_common::Flow;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The kernel's flow table, mapped into this process.
#[derive(Debug)]
pub(super) struct Unreported {
    flows: NonNull<Flow>,
    count: usize,
}

// SAFETY: the memory is shared only with the kernel.
unsafe impl Send for Unreported {}

impl Unreported {
    /// Maps the table.
    pub(super) fn new(map: &MapData) -> io::Result<Self> {
        let info: MapInfo = map.info().map_err(io::Error::other)?;
        let count = info.max_entries() as usize;
        let bytes = NonZeroUsize::new(count * size_of::<Flow>())
            .ok_or_else(|| io::Error::other("an empty flow table"))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which nothing else refers to.
        let flows = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, map.fd(), 0) }?;
        Ok(Self {
            flows: flows.cast(),
            count,
        })
    }

    /// The connections that lost samples since the last call, and those first seen before `before`
    /// (nanoseconds since boot) about which nothing has been delivered yet; each once.
    pub(super) fn take(&self, before: u64) -> Vec<Flow> {
        // SAFETY: within the mapped memory, which lives as long as `self`.
        let place = |at| unsafe { self.flows.add(at) };
        (0..self.count)
            .filter_map(|at| take(place(at), before))
            .collect()
    }
}

impl Drop for Unreported {
    fn drop(&mut self) {
        // SAFETY: the result of `mmap`, unmapped once.
        let _ = unsafe { munmap(self.flows.cast(), self.count * size_of::<Flow>()) };
    }
}

/// A consistent copy of a connection's state, once; `None` while a CPU is working on it, and if
/// there is nothing to report.
fn take(flow: NonNull<Flow>, before: u64) -> Option<Flow> {
    let at = flow.as_ptr();
    // SAFETY: within the mapped memory, and aligned.
    let (lock, told, serial) = unsafe {
        (
            AtomicU32::from_ptr(&raw mut (*at).lock),
            AtomicU8::from_ptr(&raw mut (*at).told),
            ptr::read_volatile(&raw const (*at).serial),
        )
    };
    // Most have been reported, and need no copy.
    let old = told.load(Ordering::Relaxed);
    if old == serial || lock.load(Ordering::Acquire) != 0 {
        return None;
    }
    // Before the copy: what is lost from here on is reported the next time.
    told.store(serial, Ordering::SeqCst);
    // SAFETY: as above; plain numbers, whatever the kernel writes in the meantime.
    let (first, second) = unsafe { (ptr::read_volatile(at), ptr::read_volatile(at)) };
    let is_free = lock.load(Ordering::Acquire) == 0;
    let is_due = first.opened != 0 && (first.lost != 0 || first.opened < before);
    if is_free && first == second && first.serial == serial && is_due {
        return Some(first);
    }
    // An entry that was reused in the meantime has another number.
    told.store(old, Ordering::Relaxed);
    None
}
