//! Counters. None is used on the fast path.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{Counter, Interface};

use crate::maps::{COUNTERS, INTERFACES};

/// Adds one; returns this CPU's sum.
#[inline(always)]
pub(crate) fn count(counter: Counter) -> u64 {
    add(counter as u32)
}

#[inline(always)]
fn add(counter: u32) -> u64 {
    let Some(value) = COUNTERS.get_ptr_mut(counter) else {
        return 0;
    };
    // SAFETY: the slot is this CPU's own, and tc programs do not interrupt each other.
    unsafe {
        *value += 1;
        *value
    }
}

/// Adds one for the node and for the interface that the packet crosses; returns the node's sum on
/// this CPU. `counter` is a [`Counter`] from [`Counter::FIRST_OF_INTERFACE`] on.
#[inline(never)]
pub(crate) fn count_on(skb: *mut __sk_buff, counter: u32) -> u64 {
    // SAFETY: the context is the kernel's, and lives as long as the program runs.
    count_under(unsafe { (*skb).ifindex }, counter)
}

/// The same, for an interface given by its index.
#[inline(always)]
pub(crate) fn count_under(ifindex: u32, counter: u32) -> u64 {
    if let Some(interface) = interface(ifindex) {
        let at = counter.wrapping_sub(Counter::FIRST_OF_INTERFACE) as usize;
        if at < Counter::OF_INTERFACE {
            interface.counts[at] += 1;
        }
    }
    add(counter)
}

/// This CPU's data for an interface. The daemon creates the entries; packets of an interface
/// without an entry are counted for interface 0.
#[inline(always)]
pub(crate) fn interface(ifindex: u32) -> Option<&'static mut Interface> {
    let found = INTERFACES
        .get_ptr_mut(&ifindex)
        .or_else(|| INTERFACES.get_ptr_mut(&0));
    // SAFETY: the value belongs to this CPU and stays valid while the program runs.
    found.map(|interface| unsafe { &mut *interface })
}
