//! Counting, off the fast path.

use mtls_ebpf_common::Counter;

use crate::maps::COUNTERS;

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot is this CPU's own, and tc programs do not interrupt each other.
        unsafe { *value += 1 };
    }
}
