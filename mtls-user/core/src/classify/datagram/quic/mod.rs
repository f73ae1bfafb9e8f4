//! QUIC between two addresses: one connection, or several that share them.

mod connection;
mod crypto;
mod flight;

use smallvec::SmallVec;

use super::{Gram, Part};
use crate::classify::call::Call;
use crate::classify::{Context, Side};
use crate::record::{TlsInfo, Verdict};
use crate::wire::quic::{ConnectionId, Kind, Long, Packet, Scratch, packets};
use connection::Connection;
pub(super) use flight::Shape;
use flight::{Around, Behind};

/// Connections between the same addresses that are followed at the same time.
const CONNECTIONS: usize = 8;
/// Keys derived per flow for packets that then do not decrypt.
const DERIVATIONS: u8 = 16;

/// The connections of one flow.
#[derive(Debug)]
pub(super) struct Quic {
    /// The newest last. Never empty once it has begun.
    connections: SmallVec<[Connection; 1]>,
    /// The worst verdict of connections that are no longer followed.
    past: Option<Box<(Call, Option<Box<TlsInfo>>)>>,
    count: u32,
    derivations: u8,
}

/// Whether a datagram begins with an Initial packet, by its header.
pub(super) fn begins(gram: &Gram<'_>) -> bool {
    matches!(packets(gram.bytes, gram.len).next(), Some(Packet::Long(packet)) if packet.kind == Kind::Initial)
}

impl Quic {
    /// The flow that `gram`, sent by a client, begins; `None` unless it is proven to be QUIC.
    pub(super) fn begin(gram: &Gram<'_>, context: &mut Context<'_>) -> Option<Self> {
        let mut quic = Self {
            connections: SmallVec::new(),
            past: None,
            count: 0,
            derivations: DERIVATIONS,
        };
        quic.take(Side::Client, gram, context);
        (quic.count > 0).then_some(quic)
    }

    /// Memory that is held until the handshakes are completed, in bytes.
    pub(super) fn held(&self) -> usize {
        self.connections.iter().map(Connection::held).sum()
    }

    /// Processes a datagram; true if a verdict has changed.
    pub(super) fn take(&mut self, side: Side, gram: &Gram<'_>, context: &mut Context<'_>) -> bool {
        let mut around = Around {
            len: gram.len,
            ..Around::default()
        };
        let mut news = false;
        let mut touched = None;
        let all: SmallVec<[Packet<'_>; 3]> = packets(gram.bytes, gram.len).collect();
        // After the handshake, most datagrams have no long header.
        let is_long = gram.bytes.first().is_some_and(|b| b & 0x80 != 0);
        if is_long {
            let mut scratch = Scratch::new();
            for packet in &all {
                match packet {
                    Packet::Long(packet) if packet.kind == Kind::Initial => {
                        around.initial = true;
                        let (padding, new) =
                            self.initial(side, packet, gram.time, context, &mut scratch);
                        around.padding += padding;
                        news |= new;
                    }
                    Packet::Long(packet) if packet.kind == Kind::Retry && side == Side::Server => {
                        if let Some(at) = self.find(side, packet) {
                            self.connections[at].retried(packet);
                        }
                    }
                    Packet::Negotiation { .. } if side == Side::Server => {
                        if let Some(last) = self.connections.last_mut() {
                            last.negotiated = true;
                        }
                    }
                    _ => {}
                }
            }
        }
        let mut all = all.into_iter().peekable();
        let mut first = true;
        while let Some(packet) = all.next() {
            match packet {
                Packet::Long(packet) => {
                    let Some(at) = self.find(side, &packet) else {
                        continue;
                    };
                    touched = Some(at);
                    let flight = &mut self.connections[at].flight;
                    if side == Side::Server {
                        flight.server_seen = true;
                        flight.answered = true;
                    }
                    if packet.kind == Kind::Handshake {
                        let behind = match all.peek() {
                            Some(Packet::Long(next)) if next.kind == Kind::Handshake => {
                                Behind::Handshake
                            }
                            Some(Packet::Long(next)) => Behind::Bytes(next.length),
                            Some(Packet::Short { len, .. } | Packet::Rest { len, zeros: true }) => {
                                Behind::Bytes(*len)
                            }
                            _ => Behind::Nothing,
                        };
                        match side {
                            Side::Client => flight.add(packet.length, behind, around),
                            Side::Server => {
                                flight.accepted = false;
                                flight.server_stayed |= flight.client_done;
                            }
                        }
                    }
                }
                Packet::Short { bytes, len } => {
                    let at = self.short(side, bytes, first, touched);
                    if let Some(at) = at.filter(|_| side == Side::Client) {
                        self.connections[at].flight.compare(len);
                    }
                    touched = at.or(touched);
                }
                _ => {}
            }
            first = false;
        }
        if let Some(at) = touched {
            let connection = &mut self.connections[at];
            connection.looked_at();
            // Only Handshake packets that come late contradict a verdict.
            if is_long || connection.call.is_none() {
                news |= connection.evaluate(None, context);
            }
        }
        news
    }

    /// A packet with a short header; `first`: its datagram begins with it.
    fn short(
        &mut self,
        side: Side,
        bytes: &[u8],
        first: bool,
        touched: Option<usize>,
    ) -> Option<usize> {
        let own = |id: &ConnectionId| {
            bytes
                .get(1..)
                .is_some_and(|rest| rest.starts_with(id.as_slice()))
        };
        let addressed = |c: &Connection| match side {
            Side::Client => c
                .server_id
                .as_ref()
                .is_some_and(|id| !id.is_empty() && own(id)),
            Side::Server => !c.client_id.is_empty() && own(&c.client_id),
        };
        let known = self.connections.iter().rposition(addressed);
        // Peers use new connection IDs once they have received some; and some peers have none.
        let at = known
            .or(touched)
            .or(self.connections.len().checked_sub(1))?;
        let connection = &mut self.connections[at];
        let flight = &mut connection.flight;
        match side {
            Side::Client => {
                let anonymous = connection
                    .server_id
                    .as_ref()
                    .is_none_or(ConnectionId::is_empty);
                if !flight.client_done && !flight.has_begun() && known.is_none() {
                    return None;
                }
                // After another packet, anything may follow.
                if first || known.is_some() || anonymous {
                    flight.client_done = true;
                }
                flight.client_went_on |= first;
            }
            Side::Server => {
                flight.server_seen = true;
                flight.answered = true;
                if first && flight.client_done {
                    let ours = known.is_some() || connection.is_no_reset(bytes);
                    connection.flight.accepted |= ours;
                }
            }
        }
        Some(at)
    }

    /// The connection that a long header belongs to.
    fn find(&self, side: Side, packet: &Long<'_>) -> Option<usize> {
        match side {
            Side::Client => {
                let ours = |c: &&Connection| c.client_id == packet.scid;
                let exact = self
                    .connections
                    .iter()
                    .rposition(|c| ours(&c) && c.is_addressed_by(&packet.dcid));
                // Servers may issue more IDs before the handshake is complete (quic-go does).
                exact.or_else(|| self.connections.iter().rposition(|c| ours(&c)))
            }
            Side::Server => {
                let ours = |c: &&Connection| c.client_id == packet.dcid;
                let exact = self
                    .connections
                    .iter()
                    .rposition(|c| ours(&c) && c.server_id == Some(packet.scid));
                exact.or_else(|| {
                    self.connections
                        .iter()
                        .rposition(|c| ours(&c) && c.server_id.is_none())
                })
            }
        }
    }

    /// An Initial packet: returns bytes of padding in it, and whether it ended a connection.
    fn initial(
        &mut self,
        side: Side,
        packet: &Long<'_>,
        time: u64,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> (usize, bool) {
        if let Some(at) = self.find(side, packet)
            && !(side == Side::Client && self.connections[at].is_renegotiated_by(packet))
            && let Some(seen) = self.connections[at].initial(side, packet, context, scratch)
        {
            return (seen.padding, false);
        }
        if side == Side::Server || self.derivations == 0 {
            return (0, false);
        }
        let Some((mut connection, seen)) = Connection::begin(packet, time, context, scratch) else {
            self.derivations -= 1;
            return (0, false);
        };
        if let Some(old) = self.connections.iter().rposition(|c| c.restarts_by(packet)) {
            connection.retry = self.connections[old].retry;
            connection.negotiated = self.connections[old].negotiated;
            connection.handshake.time = self.connections[old].handshake.time;
            self.connections[old] = connection;
            return (seen.padding, false);
        }
        let mut news = false;
        if self.connections.len() == CONNECTIONS {
            let mut oldest = self.connections.remove(0);
            oldest.evaluate(Some(false), context);
            if let Some(call) = oldest.call.take() {
                let info = oldest.handshake.info(Some(&call));
                if self
                    .past
                    .as_ref()
                    .is_none_or(|past| call.verdict < past.0.verdict)
                {
                    self.past = Some(Box::new((call, Some(info))));
                    news = true;
                }
            }
        }
        self.connections.push(connection);
        self.count = self.count.saturating_add(1);
        (seen.padding, news)
    }

    /// Decides what can be decided.
    pub(super) fn finish(&mut self, lost: bool, context: &mut Context<'_>) {
        for connection in &mut self.connections {
            connection.evaluate(Some(lost), context);
        }
    }

    /// The connection with the worst verdict, of those that have one; else the newest.
    fn worst(&self) -> &Connection {
        let decided = self.connections.iter().filter(|c| c.call.is_some());
        decided
            .min_by_key(|c| c.call.as_ref().map(|call| call.verdict))
            .unwrap_or(&self.connections[self.connections.len() - 1])
    }

    fn past(&self) -> Option<&(Call, Option<Box<TlsInfo>>)> {
        let past = self.past.as_deref()?;
        let worst = self.worst().call.as_ref();
        worst
            .is_none_or(|call| past.0.verdict < call.verdict)
            .then_some(past)
    }

    /// The worst verdict.
    pub(super) fn call(&self) -> Option<&Call> {
        self.past()
            .map(|past| &past.0)
            .or(self.worst().call.as_ref())
    }

    /// All connections are decided.
    pub(super) fn is_done(&self) -> bool {
        self.connections.iter().all(|c| c.call.is_some())
    }

    /// Details besides the verdict.
    pub(super) fn part(&self) -> Part {
        let connection = self.worst();
        let tls = match self.past() {
            Some((_, info)) => info.clone(),
            None => Some(connection.handshake.info(connection.call.as_ref())),
        };
        let mut notes = Vec::new();
        if self.count > 1 {
            notes.push(format!(
                "connections: {} between the same addresses and ports; the worst is shown",
                self.count
            ));
        }
        if connection.retry {
            notes.push(
                "retry: the server verified the client's address before the handshake".to_owned(),
            );
        }
        if connection.negotiated {
            notes.push(
                "version-negotiation: the server did not support the client's first version"
                    .to_owned(),
            );
        }
        let verdict = self.call().map(|call| call.verdict);
        if matches!(verdict, Some(Verdict::Mtls | Verdict::Tls))
            && connection.handshake.completed.is_none()
        {
            notes.push(
                "unconfirmed: the server's answer to the client's flight was not seen".into(),
            );
        }
        Part {
            protocol: protocol(tls.as_deref()),
            tls,
            notes,
        }
    }

    /// The ID by which the client of the newest connection addresses its server, once the server
    /// has accepted the client's flight.
    pub(super) fn server_id(&self) -> Option<ConnectionId> {
        let last = self.connections.last()?;
        last.server_id.filter(|_| last.flight.accepted)
    }
}

/// The protocol inside, if the handshake completed and only one can have been negotiated: a
/// connection without an agreement fails (RFC 9001 §8.1).
fn protocol(tls: Option<&TlsInfo>) -> &'static str {
    let Some(tls) = tls.filter(|tls| tls.completed == Some(true)) else {
        return "quic";
    };
    let all = |is: fn(&str) -> bool| {
        !tls.alpn_offered.is_empty() && tls.alpn_offered.iter().all(|name| is(name))
    };
    if all(|name| name == "h3" || name.starts_with("h3-")) {
        "http/3"
    } else if all(|name| name == "doq" || name.starts_with("doq-")) {
        "doq"
    } else {
        "quic"
    }
}
