//! The types that the flow table deals in.

use smol_str::SmolStr;

pub use crate::record::Side;
use crate::record::{Cause, Evidence, HttpInfo, TlsInfo, Verdict};

/// Some bytes of one side's stream, or as much of them as was captured.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Position of the first byte in that side's stream, 0-based (mid-stream: relative to the
    /// first segment seen of that side).
    pub offset: u64,
    /// Payload bytes that were on the wire from `offset` on.
    pub len: u32,
    /// The captured ones: a prefix of those, maybe all.
    pub bytes: &'a [u8],
    /// Position in the other side's stream up to which this segment acknowledges.
    pub ack: Option<u64>,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
}

/// What a call changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing to report yet; more bytes are wanted.
    NeedMore,
    /// Decided, or a decision revised, or its details are complete: report it.
    Changed,
    /// Decided before, and no more bytes are wanted.
    Done,
}

/// What is said of a flow.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What the flow is.
    pub verdict: Verdict,
    /// How that is known.
    pub evidence: Option<Evidence>,
    /// Why, in a word.
    pub cause: Cause,
    /// Why, in a sentence.
    pub reason: SmolStr,
    /// `tls`, `http/1.1`, …; `unknown`.
    pub protocol: &'static str,
    /// What the handshake showed.
    pub tls: Option<Box<TlsInfo>>,
    /// What plaintext HTTP showed.
    pub http: Option<HttpInfo>,
    /// Things that do not change the verdict.
    pub notes: Vec<String>,
}
