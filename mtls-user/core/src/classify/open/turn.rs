//! What a flow turns out to be, or becomes: TLS, directly or by an upgrade; a protocol after
//! another; plaintext.

use super::wrapped::Wrapped;
use super::{MAX_VIA, Open, Phase};
use crate::classify::api::{Piece, Side};
use crate::classify::call::{Broken, Call, Reason, Words};
use crate::classify::exchange::Exchange;
use crate::classify::opening::Look;
use crate::classify::protocols::{self, Framing, Match, Turn};
use crate::classify::sessions::Context;
use crate::classify::settled::Via;
use crate::classify::stream::{NO_ACK, Stream};
use crate::classify::tls::Tls;
use crate::record::{Cause, Evidence, Verdict};
use crate::wire::tls::record::is_handshake;

impl Open {
    /// A client that sent a hello to a server that does not speak TLS, or that had refused to.
    pub(super) fn answered_in_clear(&mut self, answer: Broken) -> bool {
        let asked = self.known.take_back_upgrade().filter(|_| answer.readable);
        let (verdict, evidence, reason) = match (asked, answer.protocol) {
            (Some(asked), _) if asked != UNASKED => (
                Verdict::Plaintext,
                Evidence::Upgrade,
                Reason::Named(Words::Refused, asked),
            ),
            (_, Some(protocol)) => (
                Verdict::Plaintext,
                Evidence::FirstBytes,
                Reason::Named(Words::Answered, protocol),
            ),
            (_, None) if answer.readable => (
                Verdict::Plaintext,
                Evidence::FirstBytes,
                Reason::Said(
                    Cause::HelloAnsweredInClear,
                    "the server answered the ClientHello with readable text",
                ),
            ),
            (_, None) => (
                Verdict::Opaque,
                Evidence::FirstBytes,
                Reason::Said(
                    Cause::HelloAnsweredInClear,
                    "the server answered the ClientHello with neither TLS nor a known protocol",
                ),
            ),
        };
        let asked = asked.filter(|asked| *asked != UNASKED);
        self.known.protocol = asked.or(answer.protocol).unwrap_or("unknown");
        self.known.adopt(Call::new(verdict, evidence, reason))
    }

    /// Acts on what the opening shows; `Wait` if that was nothing.
    pub(super) fn look(&mut self, look: Look, context: &mut Context<'_>) -> Look {
        let port = context.server.port;
        match look {
            Look::Wait => {}
            Look::Known(found) if found.is_named() => {}
            Look::Tls => {
                let ack = self.streams[0]
                    .window()
                    .map_or(NO_ACK, |w| w.ack_at(w.start));
                let server = self.streams[1].prefix();
                let spoke = !server.is_empty() && !matches!(server[0], 21 | 22);
                if spoke && ack != NO_ACK && ack > self.streams[1].next {
                    let protocol = protocols::greeting(server).unwrap_or(UNASKED);
                    let turn = Turn {
                        protocol,
                        client: 0,
                        server: None,
                    };
                    self.upgrade(turn, context);
                } else {
                    self.enter_tls(Tls::new(port, self.time()), context);
                }
            }
            Look::V2(hello) => {
                self.streams[0].next += hello.size as u64;
                self.enter_tls(Tls::after_v2(hello, port, self.time()), context);
            }
            Look::Known(Match::Upgrade(turn)) => self.upgrade(turn, context),
            Look::Known(Match::Wrapped(turn, framing)) => self.unwrap(turn, framing, context),
            Look::Known(Match::Through(turn) | Match::Secret(turn))
                if self.known.via().len() < MAX_VIA =>
            {
                self.pass(turn);
                self.streams.iter_mut().for_each(|s| s.pump(|w| w.start));
                self.known.came(match look {
                    Look::Known(Match::Secret(_)) => Via::Secret(turn.protocol),
                    _ => Via::Through(turn.protocol),
                });
            }
            // In the middle of a stream, unknown bytes are to be expected.
            Look::Text | Look::Opaque | Look::Known(Match::Through(_) | Match::Secret(_))
                if self.midstream.is_some() =>
            {
                return Look::Wait;
            }
            decided => self.decide(decided),
        }
        look
    }

    /// Continues after what both sides have sent so far.
    fn pass(&mut self, turn: Turn) {
        let [asking, answering] = &mut self.streams;
        asking.next += turn.client as u64;
        answering.next += turn.server.unwrap_or_default() as u64;
    }

    /// TLS begins inside packets of the previous protocol.
    fn unwrap(&mut self, turn: Turn, framing: Framing, context: &mut Context<'_>) {
        self.pass(turn);
        self.known.protocol = turn.protocol;
        self.known.came(Via::Upgrade(turn.protocol));
        let time = self.time();
        let mut wrapped = Wrapped::new(framing, std::mem::take(&mut self.streams));
        let held = Side::BOTH.map(|side| wrapped.start(side, time));
        self.unanswered = [0; 2];
        self.wrapped = Some(Box::new(wrapped));
        self.enter_tls(Tls::new(context.server.port, time), context);
        for (side, pieces) in Side::BOTH.into_iter().zip(held) {
            for unwrapped in pieces {
                self.take_piece(side, &unwrapped.piece(), context);
            }
        }
    }

    /// Whether a piece begins with a complete ClientHello header although no TLS was requested, or
    /// it is unknown whether it was: after a few unknown bytes, or in a stream whose start was not
    /// seen.
    pub(super) fn begins_tls(&self, side: Side, piece: &Piece<'_>) -> bool {
        let few = |stream: &Stream| stream.next + stream.prefix().len() as u64 <= FEW;
        let at = piece.offset > self.streams[side.index()].next;
        let behind = self.midstream.is_some()
            || side == Side::Client && at && self.before(piece) <= FEW && few(&self.streams[1]);
        behind && is_client_hello(piece.bytes)
    }

    /// Bytes of the client before a piece that were not consumed.
    fn before(&self, piece: &Piece<'_>) -> u64 {
        piece.offset - self.streams[0].next
    }

    /// TLS begins with this piece.
    pub(super) fn turn_to_tls(
        &mut self,
        side: Side,
        piece: &Piece<'_>,
        context: &mut Context<'_>,
    ) -> bool {
        if side == Side::Server {
            self.swap_sides(context);
        }
        let [client, server] = &mut self.streams;
        client.next = piece.offset;
        server.next = server.next.max(piece.ack.unwrap_or_default());
        client.pump(|w| w.start);
        server.pump(|w| w.start);
        let turn = Turn {
            protocol: self.known.protocol,
            client: 0,
            server: None,
        };
        if turn.protocol == "unknown" {
            self.known
                .came(Via::Through("bytes of an unknown protocol"));
            self.enter_tls(Tls::new(context.server.port, self.time()), context);
        } else {
            self.upgrade(turn, context);
        }
        self.evaluate(context)
    }

    /// TLS begins after what both sides have sent so far.
    fn upgrade(&mut self, turn: Turn, context: &mut Context<'_>) {
        let [asking, answering] = &mut self.streams;
        asking.next += turn.client as u64;
        // The client waited for the answer, so its hello acknowledges everything that preceded TLS.
        let acked = asking
            .window()
            .map(|w| w.ack_at(w.start))
            .filter(|ack| *ack != NO_ACK);
        answering.next = match (turn.server, acked) {
            (Some(n), _) => answering.next + n as u64,
            (None, Some(ack)) => answering.next.max(ack),
            (None, None) => answering.next + hello_in(answering.prefix()) as u64,
        };
        self.known.protocol = turn.protocol;
        self.known.came(Via::Upgrade(turn.protocol));
        self.enter_tls(Tls::new(context.server.port, self.time()), context);
    }

    /// A decision based on the first bytes.
    pub(super) fn decide(&mut self, look: Look) {
        let of = |verdict, evidence, words, name| {
            Call::new(verdict, evidence, Reason::Named(words, name))
        };
        self.phase = Phase::Over;
        let (protocol, call) = match look {
            Look::Known(Match::Yes(name)) => {
                if name.starts_with("http/") {
                    self.phase = Phase::Http(Exchange::new(name));
                }
                let call = of(Verdict::Plaintext, Evidence::FirstBytes, Words::Plain, name);
                (name, call)
            }
            Look::Known(Match::Refused(name)) => (
                name,
                of(Verdict::Plaintext, Evidence::Upgrade, Words::Refused, name),
            ),
            Look::Known(Match::Encrypted(name)) => (
                name,
                of(
                    Verdict::Opaque,
                    Evidence::FirstBytes,
                    Words::Encrypted,
                    name,
                ),
            ),
            Look::Known(Match::Asked(name)) => (
                name,
                Call::unobserved(Reason::Named(Words::Unanswered, name)),
            ),
            Look::Known(Match::Likely(name)) => (
                name,
                Call::unobserved(Reason::Named(Words::Undecided, name)),
            ),
            Look::Known(Match::Declined(name)) => {
                (name, Call::unobserved(Reason::Named(Words::Refused, name)))
            }
            Look::Wait => (
                self.known.protocol,
                Call::unobserved(Reason::Said(
                    Cause::TooLittle,
                    "too little was seen to tell",
                )),
            ),
            Look::Text => ("unknown", {
                let reason = Reason::Said(
                    Cause::Unencrypted,
                    "unencrypted text of an unknown protocol",
                );
                Call::new(Verdict::Plaintext, Evidence::FirstBytes, reason)
            }),
            _ => ("unknown", {
                let reason = Reason::Said(Cause::UnknownBytes, "neither TLS nor a known protocol");
                Call::new(Verdict::Opaque, Evidence::FirstBytes, reason)
            }),
        };
        self.known.protocol = protocol;
        self.fresh(call);
    }

    /// A first decision, which the next evaluation reports.
    pub(super) fn fresh(&mut self, call: Call) {
        if self.known.call.is_none() {
            self.known.adopt(call);
        }
    }
}

/// The name of an upgrade without a visible request: the server spoke first, and its protocol is
/// unknown.
const UNASKED: &str = "tls";
/// How many bytes of an unknown protocol may precede TLS.
const FEW: u64 = 16;

/// Whether these bytes are the start of a ClientHello in a record: both lengths match, and its
/// version is valid (RFC 8446 §4.1.2).
fn is_client_hello(bytes: &[u8]) -> bool {
    let Some(&[22, 3, 0..=4, high, low, 1, 0, a, b, 3, 0..=3]) = bytes.first_chunk::<11>() else {
        return false;
    };
    let record = u16::from_be_bytes([high, low]);
    let message = u16::from_be_bytes([a, b]);
    message >= 38 && u32::from(record) <= u32::from(message) + 4
}

/// Position of a ServerHello in a server's stream: after the plaintext before it.
fn hello_in(server: &[u8]) -> usize {
    let at = |i: &usize| is_handshake(&server[*i..], 2);
    (0..server.len()).find(at).unwrap_or(server.len())
}
