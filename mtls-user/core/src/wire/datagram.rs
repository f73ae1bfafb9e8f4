//! One UDP datagram, wherever it was seen: the common type of the kernel's samples and the packets
//! of a capture file.

use super::{Direction, Endpoint};

/// One UDP datagram, or the part of it that was captured.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The interface where it was seen (its index); 0 if none, as in a capture.
    pub link: u32,
    /// Which way it crossed that interface.
    pub direction: Direction,
    /// Sender.
    pub src: Endpoint,
    /// Receiver.
    pub dst: Endpoint,
    /// Payload bytes that were on the wire, captured or not.
    pub len: u32,
    /// The captured bytes: a prefix of the payload, at most `len`.
    pub payload: &'a [u8],
    /// The flow was already running when the observer first saw it.
    pub midstream: bool,
    /// Samples of this flow were lost before this one: what is missing proves nothing.
    pub lost: bool,
    /// It claims to belong to a flow, but comes from another interface than its sender's.
    pub foreign: bool,
    /// This direction is not sampled again until the next recheck.
    pub paused: bool,
}
