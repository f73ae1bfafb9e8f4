//! What the flows of one table know about each other, so that a resumption can be traced to the
//! full handshake that it continues; and identical data, stored once.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::hello::{self, Hello};
use crate::wire::Endpoint;
use crate::wire::tls::{Carrier, Certificate, ClientHello};

/// How many sessions are remembered by default.
const CAPACITY: usize = 65_536;
/// How many certificates are kept for sharing between flows.
const CERTIFICATES: usize = 1024;
/// How many hellos are kept.
const HELLOS: usize = 4096;

/// Who was authenticated in a full handshake.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Whether the client presented a certificate.
    pub(super) mutual: bool,
    /// When, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    /// The certificates, if they were visible.
    pub(super) certificates: [Option<Arc<Certificate>>; 2],
}

/// Lengths of a server's records that may contain its tickets; unused entries are zero.
pub(super) type Tickets = [u16; 8];

/// If lengths are unknown: any ticket may be among them.
pub(super) const ANY: Tickets = [u16::MAX; 8];

/// The last full handshake of each kind, server-only and mutual, between one client and one server.
type Pair = [Option<(Session, Tickets)>; 2];

/// Which session a resumption continues.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// This session.
    Known(Session),
    /// A session of these peers, who have had both kinds.
    Mixed,
    /// None that was seen.
    Unknown,
    /// Not determined.
    Off,
}

/// A map that evicts its oldest entries.
#[derive(Debug)]
struct Bounded<T> {
    map: HashMap<u64, T, RandomState>,
    order: VecDeque<u64>,
    capacity: usize,
}

impl<T> Bounded<T> {
    fn new(capacity: usize) -> Self {
        Self {
            map: HashMap::with_hasher(RandomState::default()),
            order: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    fn insert(&mut self, key: u64, value: T) {
        if self.map.insert(key, value).is_none() {
            self.order.push_back(key);
            if self.order.len() > self.capacity
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
    }
}

/// Sessions that were seen or inferred, so that a resumption can be traced to its full handshake.
#[derive(Debug)]
pub struct Sessions {
    /// Seeded per table, so that a sender cannot construct a ticket that collides with another.
    seed: RandomState,
    by_name: Bounded<Session>,
    /// Whether a TLS 1.3 resumption gets the verdict of its peers' last full handshake.
    inherits: bool,
    by_peers: Bounded<Pair>,
    certificates: Bounded<Option<Arc<Certificate>>>,
    hellos: Bounded<Arc<Hello>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(CAPACITY, true)
    }
}

impl Sessions {
    /// Remembers at most `capacity` sessions; the oldest are evicted first. `inherits`: whether a
    /// TLS 1.3 resumption, whose ticket only its peers can read, gets the verdict of the last full
    /// handshake of the same client and server, unless the ticket's length contradicts that.
    /// Otherwise it is `tls-unproven`.
    pub fn new(capacity: usize, inherits: bool) -> Self {
        Self {
            seed: RandomState::default(),
            by_name: Bounded::new(capacity),
            inherits,
            by_peers: Bounded::new(capacity),
            certificates: Bounded::new(CERTIFICATES.min(capacity)),
            hellos: Bounded::new(HELLOS.min(capacity)),
        }
    }

    /// Remembers a session whose name was seen unencrypted (≤ 1.2).
    pub(super) fn remember(&mut self, name: u64, session: Session) {
        self.by_name.insert(name, session);
    }

    /// The session of that name.
    pub(super) fn find(&self, name: u64) -> Option<&Session> {
        self.by_name.map.get(&name)
    }

    /// The certificate in `der`, parsed unless it was parsed before.
    pub(super) fn certificate(&mut self, der: &[u8]) -> Option<Arc<Certificate>> {
        let key = self.seed.hash_one(der);
        if let Some(known) = self.certificates.map.get(&key) {
            return known.clone();
        }
        let parsed = Certificate::parse(der).map(Arc::new);
        self.certificates.insert(key, parsed.clone());
        parsed
    }

    /// The kept part of `hello`, sent to a server's `port`; created unless there is an identical
    /// one.
    pub(super) fn hello(
        &mut self,
        hello: &ClientHello<'_>,
        port: u16,
        carrier: Carrier,
    ) -> Arc<Hello> {
        let key = hello::name(hello, port, carrier, &self.seed);
        if let Some(known) = self.hellos.map.get(&key) {
            return known.clone();
        }
        let made = Arc::new(Hello::new(hello, port, carrier));
        self.hellos.insert(key, made.clone());
        made
    }
}

/// A flow's context that a call needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// The client's end.
    pub client: Endpoint,
    /// The server's end.
    pub server: Endpoint,
    /// What other flows of the same table have shown.
    pub sessions: &'a mut Sessions,
}

impl Context<'_> {
    /// The name under which the server's ticket or session ID is remembered. Each server has its
    /// own: tickets are unencrypted, so that another one could issue the same ticket.
    pub(super) fn name(&self, kind: u8, id: &[u8]) -> u64 {
        self.sessions.seed.hash_one((kind, self.server, id))
    }
}

/// The client and the server of a flow, and the requested server name.
fn peers(context: &Context<'_>, server_name: Option<&str>) -> u64 {
    let mut state = context.sessions.seed.build_hasher();
    (context.client.ip, context.server, server_name).hash(&mut state);
    std::hash::Hasher::finish(&state)
}

/// Remembers that a full TLS 1.3 handshake of these peers was completed.
pub(super) fn remember_peers(
    context: &mut Context<'_>,
    name: Option<&str>,
    session: Session,
    tickets: Tickets,
) {
    let key = peers(context, name);
    let pairs = &mut context.sessions.by_peers;
    let kind = usize::from(session.mutual);
    if let Some(pair) = pairs.map.get_mut(&key) {
        pair[kind] = Some((session, tickets));
    } else {
        let mut pair = [None, None];
        pair[kind] = Some((session, tickets));
        pairs.insert(key, pair);
    }
}

/// Remembers that these peers completed a full handshake of unknown kind: a resumption may continue
/// its session.
pub(super) fn doubt_peers(context: &mut Context<'_>, name: Option<&str>, session: Session) {
    let key = peers(context, name);
    let either = Some((session, ANY));
    context
        .sessions
        .by_peers
        .insert(key, [either.clone(), either]);
}

/// Which session a TLS 1.3 resumption between these peers continues, by a ticket of this many
/// bytes. The ticket was encrypted when it was issued, so only the kinds of their full handshakes
/// are known, and whether a ticket of that length can have been issued in them.
pub(super) fn of_peers(context: &Context<'_>, name: Option<&str>, ticket: Option<u16>) -> Origin {
    if !context.sessions.inherits {
        return Origin::Off;
    }
    let pair = context.sessions.by_peers.map.get(&peers(context, name));
    let may_be = |(_, tickets): &&(Session, Tickets)| {
        *tickets == ANY
            || ticket.is_some_and(|ticket| tickets.iter().any(|len| may_hold(*len, ticket)))
    };
    let [server_only, mutual] =
        [0, 1].map(|kind| pair.and_then(|pair| pair[kind].as_ref().filter(may_be)));
    match (server_only, mutual) {
        (Some(_), Some(_)) => Origin::Mixed,
        (Some((session, _)), None) | (None, Some((session, _))) => Origin::Known(session.clone()),
        (None, None) => Origin::Unknown,
    }
}

/// Whether an encrypted record of `len` bytes may contain tickets of about `ticket` bytes each (RFC
/// 8446 §4.6.1): header, lifetime, age, a nonce of up to 32 bytes, two lengths, an extension of 8
/// bytes; content type and tag. The ticket of a later resumption may be a few bytes longer or
/// shorter.
fn may_hold(len: u16, ticket: u16) -> bool {
    const LEAST: u32 = 4 + 4 + 4 + 1 + 2 + 2;
    const MOST: u32 = LEAST + 32 + 8;
    const SLACK: u32 = 32;
    let (len, ticket) = (u32::from(len), u32::from(ticket));
    // BoringSSL puts both of its tickets into one record.
    (1..=2).any(|count| {
        let each = len.saturating_sub(17) / count + SLACK;
        (ticket + LEAST..=ticket + MOST + 2 * SLACK).contains(&each)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of tickets and of the records that carry them, as servers send them.
    #[test]
    fn records_that_hold_a_ticket() {
        // OpenSSL, server-only and mutual; two of BoringSSL in one record; rustls' stateful ones.
        for (len, ticket) in [(250, 208), (1050, 1008), (2 * 217 + 17, 176), (103, 32)] {
            assert!(may_hold(len, ticket), "{len} {ticket}");
        }
        for (len, ticket) in [
            (1050, 208),
            (250, 1008),
            (0, 208),
            (19, 32),
            (250, u16::MAX),
        ] {
            assert!(!may_hold(len, ticket), "{len} {ticket}");
        }
    }
}
