//! A connection as it is told: one half, or two that are one.

use std::cmp::Ordering;

use sha2::Digest;
use smol_str::SmolStr;

use super::Flow;
use crate::classify::{Certainty, Finding, Side};
use crate::record::{Bytes, Cause, FlowRecord, Peer, Reporter, Time, Verdict, Word};
use crate::wire::{Direction, Endpoint, text};

/// Stands for a connection that may be gone by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

/// A connection, with its other half where an address translation lies between the two.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    slot: u32,
    flow: &'a Flow,
    other: Option<&'a Flow>,
}

impl<'a> View<'a> {
    pub(super) fn new(slot: u32, flow: &'a Flow, other: Option<&'a Flow>) -> Self {
        Self { slot, flow, other }
    }

    /// By which [`FlowTable::look_up`](super::FlowTable::look_up) finds it again.
    pub fn handle(&self) -> Handle {
        Handle {
            slot: self.slot,
            serial: self.serial(),
        }
    }

    /// A number of its own for as long as the table lives.
    pub fn serial(&self) -> u64 {
        self.flow.serial()
    }

    /// What it is: of two halves what the one says that knows more, and the worse of both where they
    /// know as much. They do not decide at the same time: a packet crosses one interface first.
    pub fn verdict(&self) -> Verdict {
        let own = &self.flow.classifier;
        let Some(other) = self.other.map(|other| &other.classifier) else {
            return own.verdict();
        };
        match own.certainty().cmp(&other.certainty()) {
            Ordering::Greater => own.verdict(),
            Ordering::Equal if own.certainty() == Certainty::Undecided => own.verdict(),
            Ordering::Equal => own.verdict().min(other.verdict()),
            Ordering::Less => other.verdict(),
        }
    }

    /// What is known of it, from the half that names its verdict.
    pub fn finding(&self) -> Finding {
        let verdict = self.verdict();
        let own = self.flow.classifier.finding();
        let Some(other) = self.other else { return own };
        let others = other.classifier.finding();
        let disagree = self.flow.classifier.is_done()
            && other.classifier.is_done()
            && own.verdict != others.verdict;
        let note = format!(
            "halves-disagree: {} at {} and {} at {}",
            own.verdict,
            self.flow.server(),
            others.verdict,
            other.server()
        );
        let mut finding = if own.verdict == verdict { own } else { others };
        if disagree {
            finding.notes.push(note);
        }
        finding
    }

    /// The client and the server as the pods at both ends know themselves: of two halves, the
    /// client's address from the one at its own interface, and the server's likewise.
    pub fn ends(&self) -> (Endpoint, Endpoint) {
        let (mut client, mut server) = oriented(self.flow);
        if let Some(other) = self.other {
            let (others_client, others_server) = oriented(other);
            if self.flow.crossing == Direction::Egress || other.crossing == Direction::Ingress {
                server = others_server;
            } else {
                client = others_client;
            }
        }
        (client, server)
    }

    /// The address the client connected to, where it is not the server's own (a service's).
    pub fn service(&self) -> Option<Endpoint> {
        let other = self.other?;
        let (_, own) = oriented(self.flow);
        let (_, others) = oriented(other);
        let (_, server) = self.ends();
        [own, others].into_iter().find(|end| *end != server)
    }

    /// Interfaces it was seen on.
    pub fn links(&self) -> Vec<u32> {
        let mut links: Vec<u32> = self.flow.links().collect();
        for link in self.other.iter().flat_map(|other| other.links()) {
            if !links.contains(&link) {
                links.push(link);
            }
        }
        links
    }

    /// At which end it was seen, where that can be told.
    pub fn reporter(&self) -> Option<Word<Reporter>> {
        let halves = [Some(self.flow), self.other];
        let at = |side: Side| {
            halves.into_iter().flatten().any(|flow| {
                let swapped = flow.classifier.client_is_server();
                flow.seen_at[if swapped { side.other() } else { side }.index()]
            })
        };
        Reporter::of(at(Side::Client), at(Side::Server))
    }

    /// Nanoseconds since the Unix epoch of the first segment.
    pub fn first_seen(&self) -> u64 {
        self.other
            .map_or(self.flow.first, |o| o.first.min(self.flow.first))
    }

    /// Nanoseconds since the Unix epoch of the last segment seen.
    pub fn last_seen(&self) -> u64 {
        self.other
            .map_or(self.flow.last, |o| o.last.max(self.flow.last))
    }

    /// Nothing more is told of it.
    pub fn is_closed(&self) -> bool {
        self.flow.is_closed()
    }

    /// A SYN, and a reset in place of the answer.
    fn is_refused(&self) -> bool {
        let [client, server] = [Side::Client, Side::Server].map(|side| self.flow.stream(side));
        let answered = server.isn().is_some() || server.fin || client.fin;
        self.flow.ended && client.isn().is_some() && !answered && self.verdict() == Verdict::NoData
    }

    /// The line that is printed and streamed.
    pub fn record(&self) -> FlowRecord {
        let mut finding = self.finding();
        if self.is_refused() {
            finding.cause = Cause::ConnectionRefused;
            finding.reason = SmolStr::new_static("server refused the connection");
        }
        let (client, server) = self.ends();
        let (first, second) = if self.flow.classifier.client_is_server() {
            (Side::Server, Side::Client)
        } else {
            (Side::Client, Side::Server)
        };
        FlowRecord {
            connection: Some(self.serial() << 1),
            id: self.flow.isns().map(id),
            reporter: self.reporter(),
            src: peer(client),
            dst: peer(server),
            service: self.service().map(|end| (end.ip(), end.port).into()),
            verdict: finding.verdict.into(),
            evidence: finding.evidence.map(Into::into),
            cause: finding.cause.into(),
            reason: finding.reason,
            protocol: SmolStr::new_static(finding.protocol),
            origin: self.flow.origin.into(),
            lost: self.flow.lost || self.other.is_some_and(|other| other.lost),
            tls: finding.tls,
            http: finding.http,
            bytes: Bytes {
                client: self.flow.stream(first).bytes(self.flow.sampled),
                server: self.flow.stream(second).bytes(self.flow.sampled),
            },
            first_seen: Time::from_nanos(self.first_seen()),
            last_seen: Time::from_nanos(self.last_seen()),
            closed: self.flow.ended,
            links: self.links(),
            notes: finding.notes,
            ..FlowRecord::default()
        }
    }
}

/// What both initial sequence numbers come to, the same on every node. Not the numbers themselves:
/// whoever knows those of an open connection can forge segments of it.
fn id((client, server): (u32, u32)) -> SmolStr {
    let hash = sha2::Sha256::new()
        .chain_update(client.to_be_bytes())
        .chain_update(server.to_be_bytes())
        .finalize();
    let mut digits = [0; 16];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = text::hex(hash[at / 2] >> (4 * (1 - at % 2)));
    }
    SmolStr::new(std::str::from_utf8(&digits).unwrap_or_default())
}

/// Client and server, in the order that the content showed.
fn oriented(flow: &Flow) -> (Endpoint, Endpoint) {
    if flow.classifier.client_is_server() {
        (flow.server(), flow.client())
    } else {
        (flow.client(), flow.server())
    }
}

fn peer(end: Endpoint) -> Peer {
    Peer {
        ip: Some(end.ip()),
        port: Some(end.port),
        workload: None,
    }
}
