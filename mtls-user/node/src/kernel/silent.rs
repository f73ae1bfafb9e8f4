//! Connections that are open and say nothing: no sample tells of them, so they are looked up in the
//! kernel's table.

use std::{
    io,
    num::NonZeroUsize,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use aya::maps::{MapData, MapInfo};
use mtls_ebpf_common::{Flow, flow::HALF_ISN};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The kernel's flow table, as this process sees it.
#[derive(Debug)]
pub(super) struct Silent {
    flows: NonNull<Flow>,
    count: usize,
}

// SAFETY: the memory is shared with the kernel and with nobody else here.
unsafe impl Send for Silent {}

impl Silent {
    /// Maps the table.
    pub(super) fn new(map: &MapData) -> io::Result<Self> {
        let info: MapInfo = map.info().map_err(io::Error::other)?;
        let count = info.max_entries() as usize;
        let bytes = NonZeroUsize::new(count * size_of::<Flow>())
            .ok_or_else(|| io::Error::other("an empty flow table"))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: new memory, which nothing else refers to.
        let flows = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, map.fd(), 0) }?;
        Ok(Self {
            flows: flows.cast(),
            count,
        })
    }

    /// Calls `f` with each connection met at its SYN before `before` (nanoseconds since boot) of which
    /// nothing was delivered yet, once.
    pub(super) fn each(&self, before: u64, mut f: impl FnMut(&Flow)) {
        for at in 0..self.count {
            // SAFETY: within the mapped memory, which lives as long as `self`.
            let flow = unsafe { self.flows.add(at) };
            if let Some(flow) = read(flow)
                && flow.told != flow.serial
                && flow.opened < before
                && (flow.halves[0].bits | flow.halves[1].bits) & HALF_ISN != 0
            {
                f(&flow);
                // The kernel never takes this for another connection: that has another number.
                // SAFETY: as above; the kernel reads and writes it as a single byte, too.
                unsafe { AtomicU8::from_ptr(&raw mut (*self.flows.add(at).as_ptr()).told) }
                    .store(flow.serial, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // SAFETY: what `mmap` gave, once.
        let _ = unsafe { munmap(self.flows.cast(), self.count * size_of::<Flow>()) };
    }
}

/// A connection's state as it was at one moment; `None` while a processor is at work on it.
fn read(flow: NonNull<Flow>) -> Option<Flow> {
    let at = flow.as_ptr();
    // SAFETY: within the mapped memory, and aligned.
    let (lock, told, serial) = unsafe {
        (
            AtomicU32::from_ptr(&raw mut (*at).lock),
            ptr::read_volatile(&raw const (*at).told),
            ptr::read_volatile(&raw const (*at).serial),
        )
    };
    // Most have been told of, and need no copy.
    if told == serial || lock.load(Ordering::Acquire) != 0 {
        return None;
    }
    // SAFETY: as above; plain numbers, whatever the kernel writes meanwhile.
    let (first, second) = unsafe { (ptr::read_volatile(at), ptr::read_volatile(at)) };
    let is_free = lock.load(Ordering::Acquire) == 0;
    (is_free && first == second).then_some(first)
}
