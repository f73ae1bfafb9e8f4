//! A connection as it is told: one half, or two that are one.

use smol_str::SmolStr;

use super::Flow;
use crate::classify::{Finding, Side};
use crate::record::{Bytes, FlowRecord, Peer, SCHEMA, Transport, Verdict};
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

    /// What it is: the worse of what its halves were seen to be, where both are decided.
    pub fn verdict(&self) -> Verdict {
        let own = self.flow.classifier.verdict();
        match self.other {
            Some(other) if other.classifier.is_done() => {
                let others = other.classifier.verdict();
                if self.flow.classifier.is_done() {
                    own.min(others)
                } else {
                    others
                }
            }
            _ => own,
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

    /// The line that is printed and streamed.
    pub fn record(&self) -> FlowRecord {
        let finding = self.finding();
        let (client, server) = self.ends();
        let (first, second) = if self.flow.classifier.client_is_server() {
            (Side::Server, Side::Client)
        } else {
            (Side::Client, Side::Server)
        };
        FlowRecord {
            schema: SCHEMA,
            file: None,
            transport: Transport::Tcp,
            id: self.flow.isns().map(id),
            src: peer(client),
            dst: peer(server),
            verdict: finding.verdict,
            evidence: finding.evidence,
            reason: finding.reason,
            protocol: SmolStr::new_static(finding.protocol),
            origin: self.flow.origin,
            tls: finding.tls,
            http: finding.http,
            bytes: Bytes {
                client: self.flow.stream(first).bytes(self.flow.sampled),
                server: self.flow.stream(second).bytes(self.flow.sampled),
            },
            first_seen: self.first_seen(),
            last_seen: self.last_seen(),
            closed: self.flow.ended,
            links: self.links(),
            notes: finding.notes,
        }
    }
}

/// Both initial sequence numbers in hexadecimal.
fn id((client, server): (u32, u32)) -> SmolStr {
    let number = u64::from(client) << 32 | u64::from(server);
    let mut digits = [0; 16];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = text::hex((number >> (60 - 4 * at)) as u8);
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
        ip: end.ip(),
        port: end.port,
        workload: None,
    }
}
