//! Counting, off the fast path.

use mtls_ebpf_common::Counter;

use crate::maps::COUNTERS;

/// Adds one; the sum on this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) -> u64 {
    let Some(value) = COUNTERS.get_ptr_mut(counter as u32) else {
        return 0;
    };
    // SAFETY: the slot is this CPU's own, and tc programs do not interrupt each other.
    unsafe {
        *value += 1;
        *value
    }
}
