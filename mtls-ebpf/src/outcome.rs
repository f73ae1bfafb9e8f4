//! The outcome of a segment, or of a part of it: a number, because that is all that BPF functions
//! can return.

use mtls_ebpf_common::Counter;

/// No sample was needed, or it was only noted.
pub(crate) const SKIPPED: u32 = 0;
/// Delivered.
pub(crate) const SAMPLED: u32 = 1;
/// From here on, lost: the value is the interface counter to increase.
pub(crate) const RING_FULL: u32 = Counter::RingFull as u32;
/// Lost: the flow table had no room, or another CPU held the flow's lock.
pub(crate) const MAP_FULL: u32 = Counter::MapFull as u32;
/// Lost: the packet's bytes could not be read.
pub(crate) const UNREADABLE: u32 = Counter::Unreadable as u32;
/// Lost: the interface has used up its share of the ring buffer.
pub(crate) const OVER_SHARE: u32 = Counter::OverShare as u32;

/// The combined outcome of two parts.
#[inline(always)]
pub(crate) fn worst(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}
