//! The labels of series. Their number does not grow with what hostile peers send: all addresses
//! outside the cluster are one value, and so are all addresses without a name.

use smol_str::SmolStr;

use mtls_core::escape::escape;
use mtls_core::record::{FlowRecord, Kind, Peer, Reporter, Transport, Vocabulary, Word};

/// Longest label value in bytes; no Kubernetes name is longer.
const MAX: usize = 253;

/// One end of an edge.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct End {
    pub(super) namespace: SmolStr,
    pub(super) workload: SmolStr,
    /// Whether it is a workload, and not one of the words that stand for many addresses.
    pub(super) is_named: bool,
}

impl End {
    pub(super) fn of(peer: &Peer) -> Self {
        let Some(who) = &peer.workload else {
            return Self::word("unknown");
        };
        match who.kind {
            Word::Known(Kind::External) => Self::word("external"),
            Word::Known(Kind::Unknown) => Self::word("unknown"),
            _ => Self {
                namespace: value(&who.namespace),
                workload: value(&who.name),
                is_named: true,
            },
        }
    }

    pub(super) const fn word(word: &'static str) -> Self {
        Self {
            namespace: SmolStr::new_static(""),
            workload: SmolStr::new_static(word),
            is_named: false,
        }
    }
}

/// Both ends, the port and the transport.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Labels {
    pub(super) source: End,
    pub(super) destination: End,
    /// `None` for the edge that stands for all those beyond the limit.
    pub(super) port: Option<u16>,
    pub(super) transport: SmolStr,
}

impl Labels {
    pub(super) fn of(flow: &FlowRecord) -> Self {
        Self {
            source: End::of(&flow.src),
            destination: End::of(&flow.dst),
            port: Some(flow.dst.port.unwrap_or_default()),
            transport: word(&flow.transport),
        }
    }

    /// The labels of the edges beyond the limit.
    pub(super) fn other() -> Self {
        Self {
            source: End::word("other"),
            destination: End::word("other"),
            port: None,
            transport: SmolStr::new_static("other"),
        }
    }
}

fn word(transport: &Word<Transport>) -> SmolStr {
    match transport {
        Word::Known(known) => SmolStr::new_static(known.as_str()),
        Word::Other(other) => value(other),
    }
}

/// Foreign text as a label value.
pub(super) fn value(text: &SmolStr) -> SmolStr {
    match escape(text, MAX) {
        std::borrow::Cow::Borrowed(_) => text.clone(),
        std::borrow::Cow::Owned(escaped) => escaped.into(),
    }
}

/// A word of a vocabulary, or the one for words that this version does not know.
pub(super) fn known<T: Vocabulary>(word: &Word<T>, unknown: T) -> T {
    word.known().unwrap_or(unknown)
}

/// The ends at which a connection is counted, as in Istio's `reporter`: one with both ends on this
/// node is counted at both, so that each value by itself includes every connection at most once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sides(u8);

impl Sides {
    /// The values of the label, in the order of [`Sides::each`].
    pub(super) const NAMES: [&'static str; 3] = ["source", "destination", "unknown"];

    pub(super) fn of(flow: &FlowRecord) -> Self {
        Self(match flow.reporter.as_ref().and_then(Word::known) {
            Some(Reporter::Source) => 1,
            Some(Reporter::Destination) => 2,
            Some(Reporter::Both) => 3,
            None => 4,
        })
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, side: usize) -> bool {
        self.0 & (1 << side) != 0
    }

    /// Indexes of [`Sides::NAMES`].
    pub(super) fn each(self) -> impl Iterator<Item = usize> {
        (0..Self::NAMES.len()).filter(move |side| self.has(*side))
    }
}
