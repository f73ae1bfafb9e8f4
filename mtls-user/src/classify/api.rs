//! The types that the flow table deals in.

use std::borrow::Cow;

use crate::verdict::{Evidence, HttpInfo, Origin, TlsInfo, Verdict};
use crate::wire::Endpoint;

/// Which end of the connection sent something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

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
    /// Decided, or a decision revised: report it.
    Changed,
    /// Decided before, and no more bytes are wanted.
    Done,
}

/// What a call needs to know of the flow's surroundings.
#[derive(Debug)]
pub struct Context<'a> {
    /// The client's end.
    pub client: Endpoint,
    /// The server's end.
    pub server: Endpoint,
    /// What other flows of the same table have shown.
    pub sessions: &'a mut Sessions,
}

/// Sessions seen in clear or inferred, so that a resumption can be traced to its full handshake.
#[derive(Debug, Default)]
pub struct Sessions {
    _known: (),
}

impl Sessions {
    /// Remembers at most `capacity` sessions; the oldest are forgotten first.
    pub fn new(capacity: usize) -> Self {
        let _ = capacity;
        Self::default()
    }
}

/// What is said of a flow.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What the flow is.
    pub verdict: Verdict,
    /// How that is known.
    pub evidence: Option<Evidence>,
    /// Why, in words.
    pub reason: Cow<'static, str>,
    /// `tls`, `http/1.1`, …; `unknown`.
    pub protocol: Cow<'static, str>,
    /// What the handshake showed.
    pub tls: Option<TlsInfo>,
    /// What plaintext HTTP showed.
    pub http: Option<HttpInfo>,
    /// Things that do not change the verdict.
    pub notes: Vec<String>,
}

/// The state of one flow.
#[derive(Debug)]
pub struct Classifier {
    origin: Origin,
    payload: bool,
}

impl Classifier {
    /// A flow of which nothing was seen yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            payload: false,
        }
    }

    /// Takes in a piece of `side`'s stream. Pieces may come out of order, twice, overlapping and
    /// with holes between them.
    pub fn segment(
        &mut self,
        _side: Side,
        piece: Piece<'_>,
        _context: &mut Context<'_>,
    ) -> Progress {
        self.payload |= piece.len > 0;
        Progress::NeedMore
    }

    /// `side` closed its stream, which was `length` bytes long; `ack` as in [`Piece`].
    pub fn fin(
        &mut self,
        _side: Side,
        _length: u64,
        _ack: Option<u64>,
        _time: u64,
        _context: &mut Context<'_>,
    ) -> Progress {
        Progress::NeedMore
    }

    /// `side` reset the connection.
    pub fn rst(&mut self, _side: Side, _time: u64, _context: &mut Context<'_>) -> Progress {
        Progress::NeedMore
    }

    /// The flow ended or is forgotten: settles what can be settled. `lost`: samples of this flow
    /// were lost, so that what is missing proves nothing.
    pub fn finish(&mut self, _lost: bool, _context: &mut Context<'_>) {}

    /// What is known so far. Builds strings: call it to report, not per segment.
    pub fn finding(&self) -> Finding {
        Finding {
            verdict: self.verdict(),
            evidence: None,
            reason: "not enough seen".into(),
            protocol: "unknown".into(),
            tls: None,
            http: None,
            notes: Vec::new(),
        }
    }

    /// The verdict as far as it is known: `no-data` before any payload.
    pub fn verdict(&self) -> Verdict {
        if self.payload {
            Verdict::Unobserved
        } else {
            Verdict::NoData
        }
    }

    /// Decided, and no more bytes are wanted; pieces given all the same are looked at for
    /// contradictions.
    pub fn is_done(&self) -> bool {
        false
    }

    /// The content shows that the two sides are swapped (mid-stream: the side taken for the server
    /// sent a ClientHello or a request). The finding is said in the right order already; the caller
    /// swaps the addresses.
    pub fn client_is_server(&self) -> bool {
        self.origin == Origin::Midstream && self.is_done()
    }
}
