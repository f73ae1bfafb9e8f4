//! What a flow turns out to be, or turns to: TLS, at once or by an upgrade, a protocol behind
//! another, plaintext.

use super::{MAX_VIA, Open, Phase};
use crate::classify::Context;
use crate::classify::call::{Call, Reason, Words};
use crate::classify::exchange::Exchange;
use crate::classify::opening::Look;
use crate::classify::settled::Via;
use crate::classify::stream::NO_ACK;
use crate::classify::tls::{Broken, Tls};
use crate::record::{Evidence, Verdict};
use crate::wire::tls::hello::V2Hello;
use crate::wire::tls::record::is_handshake;

impl Open {
    /// A client that said hello to a server that speaks no TLS, or that had refused to.
    pub(super) fn answered_in_clear(&mut self, answer: Broken) -> bool {
        let refused = self.known.take_back_upgrade().filter(|_| answer.readable);
        let (verdict, evidence, reason) = match (refused, answer.protocol) {
            (Some(asked), _) => (
                Verdict::Plaintext,
                Evidence::Upgrade,
                Reason::Named(Words::Refused, asked),
            ),
            (None, Some(protocol)) => (
                Verdict::Plaintext,
                Evidence::FirstBytes,
                Reason::Named(Words::Answered, protocol),
            ),
            (None, None) if answer.readable => (
                Verdict::Plaintext,
                Evidence::FirstBytes,
                Reason::Text("the ClientHello was answered by readable text"),
            ),
            (None, None) => (
                Verdict::Opaque,
                Evidence::FirstBytes,
                Reason::Text(
                    "the ClientHello was answered by something that is neither TLS nor a protocol known here",
                ),
            ),
        };
        self.known.protocol = refused.or(answer.protocol).unwrap_or("unknown");
        self.known.adopt(Call::new(verdict, evidence, reason))
    }

    /// Acts upon what the opening shows; `Wait` when that was nothing.
    pub(super) fn look(&mut self, look: Look, context: &mut Context<'_>) -> Look {
        let port = context.server.port;
        match look {
            Look::Wait(_) | Look::Asked(_) => {}
            Look::Tls => {
                let ack = self.streams[0]
                    .window()
                    .map_or(NO_ACK, |w| w.ack_at(w.start));
                let server = self.streams[1].prefix();
                let spoke = !server.is_empty() && !matches!(server[0], 21 | 22);
                if spoke && ack != NO_ACK && ack > self.streams[1].next {
                    self.upgrade("tls", 0, None, context);
                } else {
                    self.enter_tls(Tls::new(port, self.time()), context);
                }
            }
            Look::V2(V2Hello { size, .. }) => {
                let Look::V2(hello) = look else { return look };
                self.streams[0].next += size as u64;
                self.enter_tls(Tls::after_v2(hello, port, self.time()), context);
            }
            Look::Upgrade {
                protocol,
                client,
                server,
            } => {
                self.upgrade(protocol, client, server, context);
            }
            Look::Through {
                protocol,
                client,
                server,
            } if self.known.via().len() < MAX_VIA => {
                self.streams[0].next += client as u64;
                self.streams[1].next += server as u64;
                self.streams.iter_mut().for_each(|s| s.pump(|w| w.start));
                self.known.came(Via::Through(protocol));
            }
            // In the middle of a stream, strange bytes are no wonder.
            Look::Text | Look::Opaque | Look::Through { .. } if self.midstream.is_some() => {
                return Look::Wait(None);
            }
            decided => self.decide(decided),
        }
        look
    }

    /// TLS begins behind what both sides said before.
    fn upgrade(
        &mut self,
        protocol: &'static str,
        client: usize,
        server: Option<usize>,
        context: &mut Context<'_>,
    ) {
        let [asking, answering] = &mut self.streams;
        asking.next += client as u64;
        // The client waited for the answer, so its hello acknowledges all that came before TLS.
        let acked = asking
            .window()
            .map(|w| w.ack_at(w.start))
            .filter(|ack| *ack != NO_ACK);
        answering.next = match (server, acked) {
            (Some(n), _) => answering.next + n as u64,
            (None, Some(ack)) => answering.next.max(ack),
            (None, None) => answering.next + hello_in(answering.prefix()) as u64,
        };
        self.known.protocol = protocol;
        self.known.came(Via::Upgrade(protocol));
        self.enter_tls(Tls::new(context.server.port, self.time()), context);
    }

    /// A decision by the first bytes.
    pub(super) fn decide(&mut self, look: Look) {
        let of = |verdict, reason| Call::new(verdict, Evidence::FirstBytes, reason);
        self.phase = Phase::Over;
        self.known.protocol = match look {
            Look::Plain(name) | Look::Encrypted(name) | Look::Refused(name) => name,
            _ => "unknown",
        };
        let call = match look {
            Look::Plain(name) => {
                if name.starts_with("http/") {
                    self.phase = Phase::Http(Exchange::new(name));
                }
                of(Verdict::Plaintext, Reason::Named(Words::Opening, name))
            }
            Look::Refused(name) => Call::new(
                Verdict::Plaintext,
                Evidence::Upgrade,
                Reason::Named(Words::Refused, name),
            ),
            Look::Encrypted(name) => of(Verdict::Opaque, Reason::Named(Words::Encrypted, name)),
            Look::Text => of(
                Verdict::Plaintext,
                Reason::Text("the first bytes are readable text of no protocol known here"),
            ),
            _ => of(
                Verdict::Opaque,
                Reason::Text("the first bytes are neither TLS nor a protocol known here"),
            ),
        };
        self.fresh(call);
    }

    /// A first decision, to be reported by the next evaluation.
    pub(super) fn fresh(&mut self, call: Call) {
        self.known.call.get_or_insert(call);
    }
}

/// Where in a server's stream a ServerHello begins: behind the plaintext before it.
fn hello_in(server: &[u8]) -> usize {
    let at = |i: &usize| is_handshake(&server[*i..], 2);
    (0..server.len()).find(at).unwrap_or(server.len())
}
