//! The first datagrams of a flow, until they show what it is.

use smallvec::SmallVec;

use super::named::{self, Found, Nature, Talk};
use super::{Gram, dtls, quic};
use crate::classify::Side;
use crate::classify::call::{Call, Reason, Words};
use crate::record::{Cause, Evidence, Verdict};
use crate::wire::quic::{Packet, packets};
use crate::wire::text;

/// Datagrams kept per side.
const KEPT: usize = 3;
/// Number of different first bytes among those kept, from which on the first byte is not a magic
/// number.
const VARIED: usize = 3;
/// Bytes kept of each: enough for a complete unfragmented DNS message (RFC 9715 §3.1).
const BYTES: usize = 1500;
/// Number of unrecognised datagrams after which the flow's protocol is unknown.
const ENOUGH: u16 = 16;
/// Bytes of an unknown protocol that are needed to recognise text.
const TEXT: usize = 16;

/// A kept datagram.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

impl Kept {
    /// The complete datagram, if it was captured and kept.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.bytes.len() == self.len).then_some(&*self.bytes)
    }
}

/// What the opening shows.
#[derive(Debug)]
pub(super) enum Says {
    /// Not enough to decide.
    Wait,
    /// This datagram may begin a QUIC connection.
    Quic,
    /// This datagram begins a DTLS handshake.
    Dtls,
    /// The answer, the protocol's name, and whether the sides are swapped.
    Is(Call, &'static str, bool),
}

/// The verdict on a recognised protocol.
fn call(name: &'static str, nature: Nature) -> Call {
    let (verdict, reason) = match nature {
        Nature::Plain => (Verdict::Plaintext, Reason::Named(Words::Plain, name)),
        Nature::Sealed => (Verdict::Opaque, Reason::Named(Words::Encrypted, name)),
        Nature::Unknown => (
            Verdict::Opaque,
            Reason::Said(
                Cause::UnknownBytes,
                "RTP or SRTP: whether the payload is encrypted cannot be told from its headers",
            ),
        ),
    };
    Call::new(verdict, Evidence::FirstBytes, reason)
}

/// The first datagrams of both sides.
#[derive(Debug, Default)]
pub(super) struct Opening {
    pub(super) kept: [SmallVec<[Kept; 1]>; 2],
    seen: u16,
}

impl Opening {
    /// Processes a datagram; `ports`: the client's and the server's.
    pub(super) fn take(&mut self, side: Side, gram: &Gram<'_>, ports: [u16; 2]) -> Says {
        self.seen = self.seen.saturating_add(1);
        if quic::begins(gram) {
            return Says::Quic;
        }
        if dtls::begins(gram) {
            return Says::Dtls;
        }
        if self.keep(side, gram)
            && let (Found::Sure(name, nature), swap) = self.named(ports)
        {
            return Says::Is(call(name, nature), name, swap);
        }
        if self.seen < ENOUGH {
            return Says::Wait;
        }
        let (call, protocol, swap) = self.last(ports, false);
        Says::Is(call, protocol, swap)
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let kept = self.kept.iter().flatten();
        size_of::<Self>() + kept.map(|kept| kept.bytes.len()).sum::<usize>()
    }

    /// Keeps a datagram if it is one of the first.
    pub(super) fn keep(&mut self, side: Side, gram: &Gram<'_>) -> bool {
        let kept = &mut self.kept[side.index()];
        let keep = kept.len() < KEPT;
        if keep {
            let n = gram.bytes.len().min(BYTES);
            kept.push(Kept {
                bytes: gram.bytes[..n].into(),
                len: gram.len,
            });
        }
        keep
    }

    fn named(&self, ports: [u16; 2]) -> (Found, bool) {
        named::identify(&Talk {
            client: &self.kept[0],
            server: &self.kept[1],
            ports,
        })
    }

    /// The result if nothing more will come.
    pub(super) fn last(&self, ports: [u16; 2], lost: bool) -> (Call, &'static str, bool) {
        if let (Found::Sure(name, nature) | Found::Likely(name, nature), swap) = self.named(ports) {
            return (call(name, nature), name, swap);
        }
        if let Some((reason, protocol)) = self.looks_like_quic() {
            let reason = Reason::Said(Cause::HandshakeNotSeen, reason);
            return (Call::unobserved(reason), protocol, false);
        }
        if self.is_dtls() {
            let call = Call::new(
                Verdict::TlsUnproven,
                Evidence::RecordFraming,
                Reason::Said(Cause::StartNotSeen, "its handshake was not seen"),
            );
            return (call, "dtls", false);
        }
        if lost {
            return (
                Call::unobserved(Reason::Said(
                    Cause::SamplesLost,
                    "samples of this flow were lost",
                )),
                "unknown",
                false,
            );
        }
        let readable = self.kept.iter().flatten().all(|kept| {
            kept.bytes.len() >= 4 && text::is_text(&kept.bytes[..kept.bytes.len().min(TEXT)])
        });
        let (verdict, cause, reason) = if readable {
            (
                Verdict::Plaintext,
                Cause::Unencrypted,
                "the datagrams are readable text, of no protocol that is known",
            )
        } else {
            (
                Verdict::Opaque,
                Cause::UnknownBytes,
                "the datagrams are neither QUIC nor DTLS nor of any protocol that is known",
            )
        };
        let call = Call::new(verdict, Evidence::FirstBytes, Reason::Said(cause, reason));
        (call, "unknown", false)
    }

    /// At least three datagrams, all of which consist entirely of encrypted DTLS records.
    fn is_dtls(&self) -> bool {
        let all = || self.kept.iter().flatten();
        all().count() >= KEPT
            && all().all(|kept| {
                dtls::is_midstream(&Gram {
                    bytes: &kept.bytes,
                    len: kept.len,
                    time: 0,
                })
            })
    }

    /// Headers like QUIC's, of a connection whose first packets were not seen.
    fn looks_like_quic(&self) -> Option<(&'static str, &'static str)> {
        let all = || self.kept.iter().flatten();
        if all().any(|k| matches!(packets(&k.bytes, k.len).next(), Some(Packet::Long(_)))) {
            return Some((
                "looks like a QUIC handshake; its first packet is missing or damaged",
                "unknown",
            ));
        }
        // The same connection ID on every datagram of a side, after a first byte that begins with
        // 01. If the second bit is greased (RFC 9287): the same ID on both sides, after varying
        // bytes.
        let short = |mask: u8, bits: u8| {
            all().all(|k| k.len >= 21 && k.bytes.first().is_some_and(|b| b & mask == bits))
        };
        let id = |kept: &[Kept]| {
            let mut ids = kept.iter().map(|k| k.bytes.get(1..5));
            let first = ids.next().flatten();
            kept.len() >= KEPT && first.is_some() && ids.all(|other| other == first)
        };
        let [client, server] = &self.kept;
        let varied = || {
            let mut first: Vec<_> = all().filter_map(|k| k.bytes.first()).collect();
            first.sort_unstable();
            first.dedup();
            first.len() >= VARIED
        };
        let plain = short(0xc0, 0x40) && (id(client) || id(server));
        let greased = || short(0x80, 0) && id(client) && id(server) && varied();
        (plain || greased()).then_some((
            "short headers only: what looks like a QUIC connection, opened before mtls started or moved to this address",
            "unknown",
        ))
    }
}
