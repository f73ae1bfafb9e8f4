//! What became of a segment, or of a part of it: a number, as functions of their own return no more.

use mtls_ebpf_common::Counter;

/// Nothing was wanted of it, or it was only noted.
pub(crate) const SKIPPED: u32 = 0;
/// Delivered.
pub(crate) const SAMPLED: u32 = 1;
/// Lost, from here on: which of the interface's counters counts it.
pub(crate) const RING_FULL: u32 = Counter::RingFull as u32;
/// Lost: the flow table had no place, or another processor held it.
pub(crate) const MAP_FULL: u32 = Counter::MapFull as u32;
/// Lost: the packet's bytes could not be read.
pub(crate) const UNREADABLE: u32 = Counter::Unreadable as u32;
/// Lost: the interface has had its share of the ring buffer.
pub(crate) const OVER_SHARE: u32 = Counter::OverShare as u32;

/// The outcome of a whole whose parts had these.
#[inline(always)]
pub(crate) fn worst(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}
