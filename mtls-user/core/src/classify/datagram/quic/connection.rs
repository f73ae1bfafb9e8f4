//! One QUIC connection: its hellos from Initial packets, and the shape of its client's flight.

use smallvec::{SmallVec, smallvec};

use super::crypto::Crypto;
use super::flight::{Flight, Shape};
use crate::classify::call::{Call, Reason};
use crate::classify::datagram::handshake::{Handshake, unproven};
use crate::classify::{Context, Side};
use crate::record::{Cause, ClientCertificate, Evidence, Verdict};
use crate::wire::cursor::Cursor;
use crate::wire::quic::{ConnectionId, Frame, InitialKeys, Long, Scratch, Version, frames, retry};
use crate::wire::tls::names::CipherKind;
use crate::wire::tls::{Carrier, ClientHello, ServerHello};

/// Initial packets decrypted per connection, so that nobody can cause unlimited work.
const OPENINGS: u8 = 64;
/// Number of datagrams after the server's acceptance in which a deciding length may still arrive,
/// retransmitted or late.
const PATIENCE: u8 = 16;

/// Why a certificate that the client sent proves nothing.
const CLIENT_ALONE: (Cause, &str) = (
    Cause::HandshakeNotSeen,
    "client sent a certificate, but the server's side was not seen",
);
/// A stateless reset is no longer than necessary (RFC 9000 §10.3.3 requires that).
const LONGEST_RESET: usize = 42;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The client's connection ID.
    pub(super) client_id: ConnectionId,
    /// The connection ID in the latest datagram of the server, which may have changed.
    next_client_id: Option<ConnectionId>,
    /// The server's connection ID, once it has sent it.
    pub(super) server_id: Option<ConnectionId>,
    /// The ID that the client invented for the server: the Initial keys are derived from it.
    keyed_by: ConnectionId,
    pub(super) version: Version,
    initials: Option<Box<Initials>>,
    pub(super) handshake: Handshake,
    pub(super) flight: Flight,
    pub(super) retry: bool,
    pub(super) negotiated: bool,
    /// An Initial packet with CONNECTION_CLOSE: its side and code.
    closed: Option<(Side, u64)>,
    /// The hellos contradict each other.
    conflict: bool,
    patience: u8,
    pub(super) call: Option<Call>,
}

/// State that is needed while Initial packets arrive.
#[derive(Debug)]
struct Initials {
    keys: SmallVec<[(Version, InitialKeys); 1]>,
    streams: [Crypto; 2],
    /// Bytes of each stream that were parsed as messages.
    read: [usize; 2],
    openings: u8,
}

/// The contents of a decrypted Initial packet besides the hellos.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    /// Bytes of PADDING.
    pub(super) padding: usize,
}

impl Connection {
    /// The connection that `packet` begins, if it is proven to be a client's first Initial packet.
    pub(super) fn begin(
        packet: &Long<'_>,
        time: u64,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Option<(Self, Seen)> {
        let keys = InitialKeys::new(packet.version, &packet.dcid)?;
        let mut connection = Self {
            client_id: packet.scid,
            next_client_id: None,
            server_id: None,
            keyed_by: packet.dcid,
            version: packet.version,
            initials: Some(Box::new(Initials {
                keys: smallvec![(packet.version, keys)],
                streams: Default::default(),
                read: [0; 2],
                openings: 0,
            })),
            handshake: Handshake {
                time,
                ..Handshake::default()
            },
            flight: Flight::default(),
            retry: false,
            negotiated: false,
            closed: None,
            conflict: false,
            patience: PATIENCE,
            call: None,
        };
        let seen = connection.initial(Side::Client, packet, context, scratch)?;
        Some((connection, seen))
    }

    /// Whether the client addresses this connection's server by that ID.
    pub(super) fn is_addressed_by(&self, dcid: &ConnectionId) -> bool {
        *dcid == self.keyed_by || self.server_id.is_none_or(|id| id == *dcid)
    }

    /// Nothing from the server has confirmed it: a Retry or a Version Negotiation may restart it.
    pub(super) fn is_young(&self) -> bool {
        self.handshake.chosen.is_none() && !self.flight.has_begun()
    }

    /// Decrypts an Initial packet and processes its contents; `None` if it does not decrypt.
    pub(super) fn initial(
        &mut self,
        side: Side,
        packet: &Long<'_>,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Option<Seen> {
        let initials = self.initials.as_mut()?;
        initials.openings += 1;
        if initials.openings > OPENINGS {
            return None;
        }
        let known = initials.keys.iter().position(|(v, _)| *v == packet.version);
        let known = if let Some(known) = known {
            known
        } else {
            // Compatible negotiation continues in the other version (RFC 9369 §4.1).
            let keys = InitialKeys::new(packet.version, &self.keyed_by)?;
            initials.keys.push((packet.version, keys));
            initials.keys.len() - 1
        };
        let keys = &initials.keys[known].1;
        let opened = match side {
            Side::Client => keys.open_clients(packet, scratch),
            Side::Server => keys.open_servers(packet, scratch),
        }?;
        let mut seen = Seen::default();
        for frame in frames(opened.payload) {
            match frame {
                Frame::Padding(n) => seen.padding += n,
                Frame::Crypto { offset, data } => {
                    let stream = &mut initials.streams[side.index()];
                    stream.add(offset, data);
                    self.conflict |= stream.conflict;
                }
                Frame::Close(code) => {
                    self.closed.get_or_insert((side, code));
                }
                Frame::Ping | Frame::Ack(_) | Frame::Invalid => {}
            }
        }
        if side == Side::Server {
            self.server_id = Some(packet.scid);
            self.version = packet.version;
        }
        self.messages(side, context);
        Some(seen)
    }

    /// Processes the messages that are complete.
    fn messages(&mut self, side: Side, context: &mut Context<'_>) {
        let Some(initials) = &mut self.initials else {
            return;
        };
        let stream = &initials.streams[side.index()];
        let read = &mut initials.read[side.index()];
        loop {
            let mut c = Cursor::new(stream.start().get(*read..).unwrap_or_default());
            let before = c.len();
            let (Some(kind), Some(body)) = (c.u8(), c.vec24()) else {
                return;
            };
            *read += before - c.len();
            match (side, kind) {
                (Side::Client, 1) => match ClientHello::parse(body) {
                    Some(hello) => self.handshake.offered(&hello, Carrier::Quic, context),
                    None => self.conflict = true,
                },
                (Side::Server, 2) => match ServerHello::parse(body) {
                    Some(hello) if hello.retry => {}
                    Some(hello) => self.handshake.chose(&hello),
                    None => self.conflict = true,
                },
                _ => self.conflict = true,
            }
        }
    }

    /// Whether a server's datagram, which begins with a short header and none of the known
    /// connection IDs, belongs to this connection. A server that has forgotten the connection sends
    /// a stateless reset, which has random bytes there (RFC 9000 §10.3).
    pub(super) fn is_no_reset(&mut self, bytes: &[u8]) -> bool {
        if self.client_id.is_empty() {
            return bytes.len() > LONGEST_RESET;
        }
        let id = bytes.get(1..=self.client_id.as_slice().len());
        let id = id.and_then(ConnectionId::new);
        let again = id.is_some() && id == self.next_client_id;
        self.next_client_id = id;
        again
    }

    /// Another datagram of this connection was processed.
    pub(super) fn looked_at(&mut self) {
        if self.flight.accepted {
            self.patience = self.patience.saturating_sub(1);
        }
    }

    /// Memory that is held until the handshake is completed, in bytes.
    pub(super) fn held(&self) -> usize {
        self.initials.as_ref().map_or(0, |initials| {
            let streams = initials.streams.iter();
            size_of::<Self>() + size_of::<Initials>() + streams.map(Crypto::held).sum::<usize>()
        })
    }

    /// Decides if possible. True if the verdict has changed.
    pub(super) fn evaluate(&mut self, over: Option<bool>, context: &mut Context<'_>) -> bool {
        let Some(call) = self.judge(over, context) else {
            return false;
        };
        let news = match &mut self.call {
            Some(old) if !old.may_become(&call) => false,
            old => {
                *old = Some(call);
                true
            }
        };
        if self.handshake.completed == Some(true) && self.patience == 0 {
            self.initials = None;
        }
        news
    }

    /// The verdict; `over`: whether nothing more will come, and whether samples were lost.
    fn judge(&mut self, over: Option<bool>, context: &mut Context<'_>) -> Option<Call> {
        let is_over = over.is_some();
        if self.conflict {
            return is_over
                .then(|| unproven((Cause::HelloContradicts, "its hellos contradict themselves")));
        }
        if let Some((side, code)) = self.closed
            && !self.flight.client_done
        {
            return Some(self.closed_early(side, code));
        }
        let Some(chosen) = self.handshake.chosen else {
            return is_over.then(|| self.without_answer());
        };
        if self.flight.accepted {
            self.handshake.completed = Some(true);
        }
        if chosen.kind() == CipherKind::Null {
            return Some(crate::classify::tls::null_cipher());
        }
        if chosen.psk {
            return Some(self.handshake.by_psk("quic", context));
        }
        let shape = self.shape(Some(chosen.hash()));
        let contradicted = match self.call.as_ref().map(|call| call.verdict) {
            Some(Verdict::Tls) => !matches!(shape, Shape::Finished(_)),
            Some(Verdict::Mtls) => !matches!(shape, Shape::Certificate(_)),
            _ => false,
        };
        if contradicted {
            return Some(unproven(Reason::Late));
        }
        if self.flight.accepted {
            let call = match shape {
                Shape::Certificate(_) if !self.flight.client_went_on && !is_over => return None,
                Shape::Padded
                | Shape::Strange(_)
                | Shape::Split
                | Shape::Settings(_)
                | Shape::Nothing
                    if !is_over && self.patience > 0 =>
                {
                    return None;
                }
                shape => self.by_shape(shape, over == Some(true)),
            };
            self.handshake.remember("quic", call.verdict, context);
            return Some(call);
        }
        is_over.then(|| self.not_accepted(shape, over == Some(true)))
    }

    /// The conclusion from the lengths of the client's packets. `hash`: bytes of the suite's hash.
    fn shape(&self, hash: Option<u16>) -> Shape {
        let hello = self.handshake.hello.as_ref();
        let settings = hello.is_some_and(|hello| hello.flight.settings);
        self.flight.shape(hash, settings)
    }

    /// The verdict for an accepted flight of that shape.
    fn by_shape(&self, shape: Shape, lost: bool) -> Call {
        match shape {
            Shape::Certificate(_) if !self.flight.client_went_on => unproven((
                Cause::ClientLeft,
                "the client sent nothing after its flight; the server may have rejected it",
            ))
            .with(ClientCertificate::Unknown),
            Shape::Certificate(length) => Call::new(
                Verdict::Mtls,
                Evidence::HandshakeShape,
                Reason::Packet(length, "client sent a certificate"),
            )
            .with(ClientCertificate::Presented),
            Shape::Finished(_) if lost => unproven((
                Cause::SamplesLost,
                "samples were lost, and with them maybe the client's certificate",
            )),
            Shape::Finished(length) => Call::new(
                Verdict::Tls,
                Evidence::HandshakeShape,
                Reason::Packet(length, "client sent no certificate"),
            ),
            Shape::Padded => unproven((
                Cause::PaddingNotExcluded,
                "unknown whether the client sent a certificate: it pads its Handshake packets to full datagrams",
            )),
            Shape::Strange(length) => Call::new(
                Verdict::TlsUnproven,
                Evidence::HandshakeShape,
                Reason::Packet(
                    length,
                    "unknown whether the client sent a certificate: the length fits neither",
                ),
            ),
            Shape::Split => unproven((
                Cause::PaddingNotExcluded,
                "unknown whether the client sent a certificate: its flight came in many small packets",
            )),
            Shape::Settings(length) => Call::new(
                Verdict::TlsUnproven,
                Evidence::HandshakeShape,
                Reason::Packet(
                    length,
                    "unknown whether the client sent a certificate or application settings (ALPS)",
                ),
            ),
            Shape::Nothing => {
                unproven((Cause::HandshakeNotSeen, "the client's flight was not seen"))
            }
        }
    }

    /// Over, and the server was not seen to accept the client's flight.
    fn not_accepted(&mut self, shape: Shape, lost: bool) -> Call {
        let flight = &self.flight;
        // A client that gives up sends only acknowledgements or a CONNECTION_CLOSE.
        let gave_up = flight.has_begun() && !flight.client_done;
        let refused = flight.client_done && flight.server_stayed
            || gave_up && (flight.answered || shape == Shape::Nothing);
        if refused && !lost {
            self.handshake.completed = Some(false);
            let certificate = match shape {
                Shape::Certificate(_) => ClientCertificate::Refused,
                _ => ClientCertificate::Unknown,
            };
            let reason = if flight.client_done {
                "the server rejected the client: it continued the handshake after the client had finished"
            } else {
                "the client did not go on from the handshake to application data"
            };
            let evidence = Evidence::HandshakeShape;
            let reason = Reason::Said(Cause::ClosedInHandshake, reason);
            return Call::new(Verdict::Failed, evidence, reason).with(certificate);
        }
        let cause = if lost {
            Cause::SamplesLost
        } else {
            Cause::HandshakeNotSeen
        };
        let words = if lost {
            "samples were lost in the handshake"
        } else if flight.client_done {
            "it is unknown whether the server accepted the client's flight"
        } else if flight.has_begun() {
            "the end of the handshake was not seen"
        } else {
            "the client's flight was not seen"
        };
        unproven((cause, words))
    }

    /// Over, and no ServerHello was seen: only the client's packets can decide, unless it offered a
    /// pre-shared key.
    fn without_answer(&self) -> Call {
        let alone = !self.flight.server_seen && !self.handshake.psk_offered;
        let shape = self.shape(None);
        if alone && self.flight.client_done && self.handshake.hello.is_some() {
            let call = self.by_shape(shape, false);
            if call.verdict != Verdict::Mtls {
                return call;
            }
            // Whether the server accepted the certificate was not seen.
            return unproven(CLIENT_ALONE).with(call.certificate);
        }
        unproven((Cause::HandshakeNotSeen, "no ServerHello was seen"))
    }

    fn closed_early(&mut self, side: Side, code: u64) -> Call {
        self.handshake.completed = Some(false);
        let who = match side {
            Side::Client => "client",
            Side::Server => "server",
        };
        // RFC 9001 §4.8: a TLS alert.
        let reason = match u8::try_from(code.wrapping_sub(0x100)) {
            Ok(alert) => {
                self.handshake.alert = Some(alert);
                Reason::Alert(who, alert)
            }
            Err(_) => Reason::Said(
                Cause::ClosedInHandshake,
                match side {
                    Side::Client => "the client closed the connection in the handshake",
                    Side::Server => "the server closed the connection in the handshake",
                },
            ),
        };
        Call::new(Verdict::Failed, Evidence::FirstBytes, reason)
    }

    /// The client restarts in another version, as the server requested.
    pub(super) fn is_renegotiated_by(&self, packet: &Long<'_>) -> bool {
        self.is_young() && self.negotiated && packet.version != self.version
    }

    /// The server made the client prove its address, if `packet` is a Retry that answers its first
    /// packet.
    pub(super) fn retried(&mut self, packet: &Long<'_>) {
        self.retry |= retry::is_authentic(packet, &self.keyed_by);
    }

    /// Whether `packet` restarts this connection, and is not from another one between the same
    /// addresses.
    pub(super) fn restarts_by(&self, packet: &Long<'_>) -> bool {
        self.is_young() && (self.negotiated || self.retry && self.client_id == packet.scid)
    }
}
