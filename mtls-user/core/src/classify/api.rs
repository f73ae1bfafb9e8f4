//! The types that the flow table uses.

use smol_str::SmolStr;

pub use crate::record::Side;
use crate::record::{Cause, Evidence, HttpInfo, TlsInfo, Verdict};

/// Some bytes of one side's stream, or as much of them as was captured.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Position of the first byte in that side's stream, 0-based (midstream: relative to the first
    /// segment seen of that side).
    pub offset: u64,
    /// Payload bytes that were on the wire from `offset` on.
    pub len: u32,
    /// The captured bytes: a prefix of the payload, maybe all of it.
    pub bytes: &'a [u8],
    /// Position in the other side's stream up to which this segment acknowledges.
    pub ack: Option<u64>,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// Its segment began before it: the kernel delivers only some parts of a segment.
    pub inside: bool,
}

/// The effect of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing to report yet; more bytes are needed.
    NeedMore,
    /// Decided, or a decision was revised, or its details are complete: report it.
    Changed,
    /// Already decided, and no more bytes are needed.
    Done,
}

/// What is reported about a flow.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What the flow is.
    pub verdict: Verdict,
    /// How the verdict is known.
    pub evidence: Option<Evidence>,
    /// Why, as a word.
    pub cause: Cause,
    /// Why, as a sentence.
    pub reason: SmolStr,
    /// `tls`, `http/1.1`, …; `unknown`.
    pub protocol: &'static str,
    /// What the handshake contained.
    pub tls: Option<Box<TlsInfo>>,
    /// What plaintext HTTP contained.
    pub http: Option<HttpInfo>,
    /// Observations that do not change the verdict.
    pub notes: Vec<String>,
}
