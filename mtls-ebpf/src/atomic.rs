//! Atomic instructions, which `core` does not provide for this target. Each is a full barrier.

use core::arch::asm;

/// Compare-and-exchange: writes `new` if the value is `old`. Returns the previous value.
///
/// # Safety
/// `at` points to an aligned map value.
#[inline(always)]
pub(crate) unsafe fn compare_exchange_u64(at: *mut u64, old: u64, new: u64) -> u64 {
    let found;
    // SAFETY: guaranteed by the caller.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at,
            new = in(reg) new,
            inout("r0") old => found,
        );
    }
    found
}

/// Compare-and-exchange: writes `new` if the value is `old`. Returns the previous value.
///
/// # Safety
/// `at` points to an aligned map value.
#[inline(always)]
pub(crate) unsafe fn compare_exchange_u32(at: *mut u32, old: u32, new: u32) -> u32 {
    let found;
    // SAFETY: guaranteed by the caller.
    unsafe {
        asm!(
            "w0 = cmpxchg32_32({at} + 0, w0, {new})",
            at = in(reg) at,
            new = in(wreg) new,
            inout("w0") old => found,
        );
    }
    found
}

/// Writes `new`.
///
/// # Safety
/// `at` points to an aligned map value.
#[inline(always)]
pub(crate) unsafe fn store_u32(at: *mut u32, new: u32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        asm!(
            "{new} = xchg32_32({at} + 0, {new})",
            at = in(reg) at,
            new = inout(wreg) new => _,
        );
    }
}
