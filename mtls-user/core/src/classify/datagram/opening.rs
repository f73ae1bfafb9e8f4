//! The first datagrams of a flow, until they say what it is.

use smallvec::SmallVec;

use super::{Gram, quic};
use crate::classify::Side;
use crate::classify::call::{Call, Reason};
use crate::record::{Evidence, Verdict};
use crate::wire::quic::{Packet, packets};
use crate::wire::text;

/// Datagrams of each side that are kept.
const KEPT: usize = 3;
/// Bytes of each: a DNS message without fragments (RFC 9715 §3.1) is whole.
const BYTES: usize = 1500;
/// Datagrams of no known protocol after which the flow is said to be of none.
const ENOUGH: u16 = 16;
/// Bytes of no known protocol that tell whether they are text.
const TEXT: usize = 16;

/// One datagram that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

/// What the opening says.
#[derive(Debug)]
pub(super) enum Says {
    /// Not enough to tell.
    Wait,
    /// This datagram may begin a QUIC connection.
    Quic,
    /// The answer, the protocol's name, and whether the sides are swapped.
    Is(Call, &'static str, bool),
}

/// The first datagrams of both sides.
#[derive(Debug, Default)]
pub(super) struct Opening {
    pub(super) kept: [SmallVec<[Kept; 1]>; 2],
    seen: u16,
}

impl Opening {
    /// Takes in a datagram.
    pub(super) fn take(&mut self, side: Side, gram: &Gram<'_>) -> Says {
        self.seen = self.seen.saturating_add(1);
        let kept = &mut self.kept[side.index()];
        if kept.len() < KEPT {
            let n = gram.bytes.len().min(BYTES);
            kept.push(Kept {
                bytes: gram.bytes[..n].into(),
                len: gram.len,
            });
        }
        if quic::begins(gram) {
            return Says::Quic;
        }
        if self.seen < ENOUGH {
            return Says::Wait;
        }
        let (call, protocol, swap) = self.last(false);
        Says::Is(call, protocol, swap)
    }

    /// What it is when nothing more will come.
    pub(super) fn last(&self, lost: bool) -> (Call, &'static str, bool) {
        if let Some((reason, protocol)) = self.looks_like_quic() {
            return (Call::unobserved(reason), protocol, false);
        }
        if lost {
            return (
                Call::unobserved("samples of this flow were lost"),
                "unknown",
                false,
            );
        }
        let readable = self.kept.iter().flatten().all(|kept| {
            kept.bytes.len() >= 4 && text::is_text(&kept.bytes[..kept.bytes.len().min(TEXT)])
        });
        let (verdict, reason) = if readable {
            (
                Verdict::Plaintext,
                "the datagrams are readable text, of no protocol that is known",
            )
        } else {
            (
                Verdict::Opaque,
                "the datagrams are neither QUIC nor DTLS nor of any protocol that is known",
            )
        };
        let call = Call::new(verdict, Evidence::FirstBytes, Reason::Text(reason));
        (call, "unknown", false)
    }

    /// Headers as QUIC has them, of a connection whose first packets were not seen.
    fn looks_like_quic(&self) -> Option<(&'static str, &'static str)> {
        let all = || self.kept.iter().flatten();
        if all().any(|k| matches!(packets(&k.bytes, k.len).next(), Some(Packet::Long(_)))) {
            return Some((
                "headers as of a QUIC handshake, whose first packet was not seen or is damaged",
                "unknown",
            ));
        }
        // The same connection ID after a first byte that begins with 01, on every datagram of a side.
        let short = |kept: &[Kept]| {
            kept.iter()
                .all(|k| k.len >= 21 && k.bytes.first().is_some_and(|b| b & 0xc0 == 0x40))
        };
        let id = |kept: &[Kept]| {
            let mut ids = kept.iter().map(|k| k.bytes.get(1..5));
            let first = ids.next().flatten();
            kept.len() >= KEPT && first.is_some() && ids.all(|other| other == first)
        };
        let [client, server] = &self.kept;
        (short(client) && short(server) && (id(client) || id(server))).then_some((
            "short headers only: what looks like a QUIC connection that is older than the observation",
            "unknown",
        ))
    }
}
