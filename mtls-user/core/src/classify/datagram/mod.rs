//! One UDP flow's verdict: a pure function of the datagrams seen.
//!
//! A flow begins with its *opening*: its first datagrams, until they show what it is. QUIC is
//! proven by the tag of its first Initial packet, DTLS by a ServerHello that answers a ClientHello,
//! other protocols by what both sides send ([`named`]). A port is never evidence.

mod dtls;
mod handshake;
mod named;
mod opening;
mod padding;
mod pieces;
mod quic;

use smol_str::SmolStr;

use super::api::{Finding, Progress, Side};
use super::call::{Broken, Call, Reason};
use super::sessions::Context;
use crate::record::{Cause, Evidence, TlsInfo, Verdict};
use crate::wire::quic::ConnectionId;
use crate::wire::text;
use dtls::Dtls;
use opening::{Opening, Says};
use quic::Quic;

/// Number of readable bytes with which no encrypted datagram begins: a 20-byte connection ID may be
/// text, but that this many bytes after it are text happens once in 10^17.
const READABLE: usize = 64;

/// One datagram of a flow, or as much of it as was captured.
#[derive(Clone, Copy, Debug)]
pub struct Gram<'a> {
    /// The captured bytes: a prefix of the payload, maybe all of it.
    pub bytes: &'a [u8],
    /// Payload bytes that were on the wire.
    pub len: usize,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
}

/// Details of a flow besides its verdict.
struct Part {
    protocol: &'static str,
    tls: Option<Box<TlsInfo>>,
    notes: Vec<String>,
}

/// The state of one UDP flow.
#[derive(Debug, Default)]
pub struct DatagramClassifier {
    /// The side that was taken for the server is the client.
    swapped: bool,
    state: State,
    /// What the flow became after it was proven to be something else.
    contradiction: Option<Call>,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing was seen.
    #[default]
    Idle,
    Opening(Box<Opening>),
    Quic(Box<Quic>),
    Dtls(Box<Dtls>),
    /// The answer, for a known or unknown protocol.
    Named(Call, &'static str),
}

impl DatagramClassifier {
    /// A flow of which nothing has been seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Processes a datagram from `side`. Datagrams may be out of order, duplicated or missing.
    pub fn datagram(&mut self, side: Side, gram: Gram<'_>, context: &mut Context<'_>) -> Progress {
        if gram.len == 0 {
            return Progress::NeedMore;
        }
        let side = self.side(side);
        let mut context = oriented(context, self.swapped);
        if matches!(self.state, State::Idle) {
            self.state = State::Opening(Box::default());
        }
        let news = match &mut self.state {
            State::Opening(opening) => {
                let ports = [context.client.port, context.server.port];
                let says = opening.take(side, &gram, ports);
                return self.opened(side, &gram, says, &mut context);
            }
            State::Quic(quic) => {
                if is_readable(&gram) && self.contradiction.is_none() {
                    self.contradiction = Some(readable());
                    true
                } else {
                    quic.take(side, &gram, &mut context)
                }
            }
            State::Dtls(dtls) => dtls.take(side, &gram, &mut context),
            // Peers find each other by STUN before they begin with DTLS.
            State::Named(_, "stun" | "turn") if dtls::begins(&gram) => {
                return self.opened(side, &gram, Says::Dtls, &mut context);
            }
            State::Idle | State::Named(..) => false,
        };
        match (news, self.is_done()) {
            (true, _) => Progress::Changed,
            (false, true) => Progress::Done,
            (false, false) => Progress::NeedMore,
        }
    }

    /// Acts on what the opening shows.
    fn opened(
        &mut self,
        side: Side,
        gram: &Gram<'_>,
        says: Says,
        context: &mut Context<'_>,
    ) -> Progress {
        match says {
            Says::Wait => Progress::NeedMore,
            Says::Quic => {
                // The sender of a client's first Initial packet is the client.
                let mut context = oriented(context, side == Side::Server);
                let Some(quic) = Quic::begin(gram, &mut context) else {
                    if let State::Opening(opening) = &mut self.state {
                        opening.keep(side, gram);
                    }
                    return Progress::NeedMore;
                };
                self.swapped ^= side == Side::Server;
                self.state = State::Quic(Box::new(quic));
                Progress::NeedMore
            }
            Says::Dtls => {
                let swap = side == Side::Server;
                let mut context = oriented(context, swap);
                self.swapped ^= swap;
                let mut dtls = Box::new(Dtls::new(gram.time));
                dtls.take(Side::Client, gram, &mut context);
                self.state = State::Dtls(dtls);
                Progress::NeedMore
            }
            Says::Is(call, protocol, swap) => {
                self.swapped ^= swap;
                self.state = State::Named(call, protocol);
                Progress::Changed
            }
        }
    }

    /// The flow is forgotten: decides what can be decided. `lost`: samples of it were lost, so that
    /// what is missing proves nothing.
    pub fn finish(&mut self, lost: bool, context: &mut Context<'_>) {
        let mut context = oriented(context, self.swapped);
        match &mut self.state {
            State::Opening(opening) => {
                let ports = [context.client.port, context.server.port];
                let (call, protocol, swap) = opening.last(ports, lost);
                self.swapped ^= swap;
                self.state = State::Named(call, protocol);
            }
            State::Quic(quic) => quic.finish(lost, &mut context),
            State::Dtls(dtls) => dtls.finish(lost, &mut context),
            State::Idle if lost => {
                let call = Call::unobserved(Reason::Said(
                    Cause::SamplesLost,
                    "samples of this flow were lost",
                ));
                self.state = State::Named(call, "unknown");
            }
            State::Idle | State::Named(..) => {}
        }
    }

    /// The verdict as far as it is known: `no-data` before any payload, `unobserved` while it is
    /// undecided.
    pub fn verdict(&self) -> Verdict {
        match (&self.state, self.call()) {
            (State::Idle, _) => Verdict::NoData,
            (_, None) => Verdict::Unobserved,
            (_, Some(call)) => call.verdict,
        }
    }

    fn call(&self) -> Option<&Call> {
        self.contradiction.as_ref().or(match &self.state {
            State::Idle | State::Opening(_) => None,
            State::Quic(quic) => quic.call(),
            State::Dtls(dtls) => dtls.call(),
            State::Named(call, _) => Some(call),
        })
    }

    /// Memory that is held until the flow is decided, in bytes.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Idle | State::Named(..) => 0,
            State::Opening(opening) => opening.held(),
            State::Quic(quic) => quic.held(),
            State::Dtls(dtls) => dtls.held(),
        }
    }

    /// What is known so far. Builds strings, so call it for reports, not per datagram.
    pub fn finding(&self) -> Finding {
        let call = self.call();
        let part = match &self.state {
            State::Idle | State::Opening(_) => Part {
                protocol: "unknown",
                tls: None,
                notes: Vec::new(),
            },
            State::Quic(quic) => quic.part(),
            State::Dtls(dtls) => dtls.part(),
            State::Named(_, protocol) => Part {
                protocol,
                tls: None,
                notes: Vec::new(),
            },
        };
        Finding {
            verdict: self.verdict(),
            evidence: call.and_then(|call| call.evidence),
            cause: match (call, &self.state) {
                (Some(call), _) => call.reason.cause(),
                (None, State::Idle) => Cause::NoPayload,
                (None, State::Quic(_) | State::Dtls(_)) => Cause::HandshakeNotOver,
                (None, _) => Cause::NotDecided,
            },
            reason: match (call, &self.state) {
                (Some(call), _) => call.reason.text(),
                (None, State::Idle) => SmolStr::new_static("no payload was seen"),
                (None, State::Quic(_) | State::Dtls(_)) => {
                    SmolStr::new_static("the handshake is not over")
                }
                (None, _) => SmolStr::new_static("not enough was seen yet"),
            },
            protocol: part.protocol,
            tls: part.tls,
            http: None,
            notes: part.notes,
        }
    }

    /// Decided; a contradiction may still revise it.
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Idle | State::Opening(_) => false,
            State::Quic(quic) => quic.is_done(),
            State::Dtls(dtls) => dtls.call().is_some(),
            State::Named(..) => true,
        }
    }

    /// The content shows that the two sides are swapped. The finding already has the right order;
    /// the caller swaps the addresses.
    pub fn client_is_server(&self) -> bool {
        self.swapped
    }

    /// The connection ID with which a client may continue from another address (QUIC), once the
    /// server has accepted the client's flight.
    pub fn connection_id(&self) -> Option<ConnectionId> {
        match &self.state {
            State::Quic(quic) => quic.server_id(),
            _ => None,
        }
    }

    /// Whether what was seen is how a flow begins. `first`: it is the flow's first datagram; before
    /// a DTLS handshake, peers may look for each other.
    pub fn is_from_start(&self, first: bool) -> bool {
        match self.state {
            State::Quic(_) => first,
            State::Dtls(_) => true,
            State::Idle | State::Opening(_) | State::Named(..) => false,
        }
    }

    fn side(&self, side: Side) -> Side {
        if self.swapped { side.other() } else { side }
    }
}

/// The same context, with the side that behaves like a client as the client.
fn oriented<'a>(context: &'a mut Context<'_>, swapped: bool) -> Context<'a> {
    let (client, server) = if swapped {
        (context.server, context.client)
    } else {
        (context.client, context.server)
    };
    Context {
        client,
        server,
        sessions: context.sessions,
    }
}

/// Whether no encrypted datagram begins with these bytes.
fn is_readable(gram: &Gram<'_>) -> bool {
    gram.bytes.get(..READABLE).is_some_and(text::is_text)
}

fn readable() -> Call {
    let mut call = Broken {
        readable: true,
        protocol: None,
    }
    .call();
    call.reason = Reason::Said(
        Cause::Contradicted,
        "what follows the handshake is readable text",
    );
    call.evidence = Some(Evidence::FirstBytes);
    call
}
