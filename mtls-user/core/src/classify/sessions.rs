//! What flows of one table know of each other, so that a resumption can be traced to the full
//! handshake that it continues; and what of them is alike, kept once.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::Context;
use super::hello::{self, Hello};
use crate::wire::tls::{Carrier, Certificate, ClientHello};

/// How many sessions are remembered unless told otherwise.
const CAPACITY: usize = 65_536;
/// How many certificates are kept to be shared between flows.
const CERTIFICATES: usize = 1024;
/// How many hellos.
const HELLOS: usize = 4096;

/// Who was authenticated in a full handshake.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The client presented a certificate.
    pub(super) mutual: bool,
    /// When, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    /// The certificates, where they were visible.
    pub(super) certificates: [Option<Arc<Certificate>>; 2],
}

/// The full handshakes between one client and one server.
#[derive(Debug)]
struct Pair {
    last: Session,
    /// Both kinds were seen: which of them is resumed cannot be told.
    mixed: bool,
}

/// What a resumption continues.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// This session.
    Known(Session),
    /// A session of these peers, who have had both kinds.
    Mixed,
    /// None that was seen.
    Unknown,
}

/// A map that forgets its oldest entries.
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

/// Sessions seen in clear or inferred, so that a resumption can be traced to its full handshake.
#[derive(Debug)]
pub struct Sessions {
    /// Seeded per table: who sends cannot choose a ticket that looks like another.
    seed: RandomState,
    by_name: Bounded<Session>,
    by_peers: Bounded<Pair>,
    certificates: Bounded<Option<Arc<Certificate>>>,
    hellos: Bounded<Arc<Hello>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Sessions {
    /// Remembers at most `capacity` sessions; the oldest are forgotten first.
    pub fn new(capacity: usize) -> Self {
        Self {
            seed: RandomState::default(),
            by_name: Bounded::new(capacity),
            by_peers: Bounded::new(capacity),
            certificates: Bounded::new(CERTIFICATES.min(capacity)),
            hellos: Bounded::new(HELLOS.min(capacity)),
        }
    }

    /// The name under which a ticket or a session id of a server is remembered.
    pub(super) fn name(&self, kind: u8, id: &[u8]) -> u64 {
        self.seed.hash_one((kind, id))
    }

    /// Remembers a session whose name was seen in clear (≤ 1.2).
    pub(super) fn remember(&mut self, name: u64, session: Session) {
        self.by_name.insert(name, session);
    }

    /// The session of that name.
    pub(super) fn find(&self, name: u64) -> Option<&Session> {
        self.by_name.map.get(&name)
    }

    /// The certificate in `der`, parsed unless it was before.
    pub(super) fn certificate(&mut self, der: &[u8]) -> Option<Arc<Certificate>> {
        let key = self.seed.hash_one(der);
        if let Some(known) = self.certificates.map.get(&key) {
            return known.clone();
        }
        let parsed = Certificate::parse(der).map(Arc::new);
        self.certificates.insert(key, parsed.clone());
        parsed
    }

    /// What is kept of `hello`, sent to a server's `port`; made unless one like it came before.
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

/// The client and the server of a flow, and the name the client asked for.
fn peers(context: &Context<'_>, server_name: Option<&str>) -> u64 {
    let mut state = context.sessions.seed.build_hasher();
    (context.client.ip, context.server, server_name).hash(&mut state);
    std::hash::Hasher::finish(&state)
}

/// Remembers that a full TLS 1.3 handshake of these peers was completed.
pub(super) fn remember_peers(context: &mut Context<'_>, name: Option<&str>, session: Session) {
    let key = peers(context, name);
    let pairs = &mut context.sessions.by_peers;
    if let Some(pair) = pairs.map.get_mut(&key) {
        pair.mixed |= pair.last.mutual != session.mutual;
        pair.last = session;
    } else {
        pairs.insert(
            key,
            Pair {
                last: session,
                mixed: false,
            },
        );
    }
}

/// Remembers that a full handshake of these peers was completed that could have been either kind:
/// a resumption may be of its session.
pub(super) fn doubt_peers(context: &mut Context<'_>, name: Option<&str>, session: Session) {
    let last = session;
    let pair = Pair { last, mixed: true };
    let key = peers(context, name);
    context.sessions.by_peers.insert(key, pair);
}

/// What a TLS 1.3 resumption between these peers continues. Its ticket was encrypted when it was
/// given, so all that can be said is what their full handshakes were.
pub(super) fn of_peers(context: &Context<'_>, name: Option<&str>) -> Origin {
    match context.sessions.by_peers.map.get(&peers(context, name)) {
        Some(pair) if pair.mixed => Origin::Mixed,
        Some(pair) => Origin::Known(pair.last.clone()),
        None => Origin::Unknown,
    }
}
