//! A connection as it is reported: one half, or two joined ones.

use std::cmp::Ordering;

use sha2::Digest;
use smol_str::SmolStr;

use super::state::{
    Flow, NOTE_DIRECTION, NOTE_OTHER_NUMBERS, NOTE_REOPENED, NOTE_SPOOFED, NOTE_TWO_STARTS,
};
use crate::classify::{Certainty, Finding, Side};
use crate::record::{
    Bytes, Cause, Ends, Evidence, FlowRecord, Peer, Reporter, Time, Unseen, Verdict, Word,
};
use crate::wire::{Endpoint, text};

/// Notes about a flow.
const NOTES: [(u8, &str); 4] = [
    (
        NOTE_REOPENED,
        "reopened: data followed a reset or a close that its receiver must have accepted",
    ),
    (
        NOTE_SPOOFED,
        "spoofed: seen at a different interface than the connection with these addresses and ports; it may be forged",
    ),
    (
        NOTE_OTHER_NUMBERS,
        "other-sequence: its sequence numbers do not belong to the connection with these addresses and ports",
    ),
    (
        NOTE_TWO_STARTS,
        "conflicting-start: a SYN or its answer was seen with two different initial sequence numbers",
    ),
];

/// Identifies a connection that may no longer exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

/// A connection, with its other half if its addresses are translated.
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

    /// The handle with which [`FlowTable::look_up`](super::FlowTable::look_up) finds it again.
    pub fn handle(&self) -> Handle {
        Handle {
            slot: self.slot,
            serial: self.flow.serial(),
        }
    }

    /// Its number in [`FlowRecord::connection`], unique for as long as the table exists: even,
    /// whereas those of UDP flows are odd.
    pub fn number(&self) -> u64 {
        self.flow.serial() << 1
    }

    /// Its verdict: of two halves, that of the half that knows more, or the worse of both if they
    /// know equally much. They do not decide at the same time, because a packet crosses one
    /// interface first.
    pub fn verdict(&self) -> Verdict {
        let own = &self.flow.classifier;
        let Some(half) = self.other else {
            return verdict(self.flow);
        };
        let other = &half.classifier;
        match own.certainty().cmp(&other.certainty()) {
            Ordering::Greater => verdict(self.flow),
            Ordering::Equal if own.certainty() == Certainty::Undecided => verdict(self.flow),
            Ordering::Equal => verdict(self.flow).min(verdict(half)),
            Ordering::Less => verdict(half),
        }
    }

    /// What is known about it, from the half that determines its verdict.
    pub fn finding(&self) -> Finding {
        let named = self.verdict();
        let own = finding(self.flow);
        let Some(other) = self.other else { return own };
        let others = finding(other);
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
        let mut finding = if own.verdict == named { own } else { others };
        if disagree {
            finding.notes.push(note);
        }
        finding
    }

    /// What was not seen of it. A verdict that does not depend on this is still right, but such a
    /// connection may have carried something else as well.
    pub fn unseen(&self) -> Vec<Unseen> {
        let both: Vec<Unseen> = self
            .flow
            .unseen()
            .chain(self.other.iter().flat_map(|other| other.unseen()))
            .collect();
        Unseen::ALL
            .into_iter()
            .filter(|what| both.contains(what))
            .collect()
    }

    /// The client and the server as the pods at both ends see themselves: of two halves, the
    /// client's address from the one at its own interface, and likewise for the server.
    pub fn ends(&self) -> (Endpoint, Endpoint) {
        let (mut client, mut server) = oriented(self.flow);
        if let Some(other) = self.other {
            let (others_client, others_server) = oriented(other);
            let own_client = self.flow.links.home(Side::Client).is_some();
            if own_client || other.links.home(Side::Server).is_some() {
                server = others_server;
            } else {
                client = others_client;
            }
        }
        (client, server)
    }

    /// The address that the client connected to, if it is not the server's own (a Service's).
    pub fn service(&self) -> Option<Endpoint> {
        let other = self.other?;
        let (_, own) = oriented(self.flow);
        let (_, others) = oriented(other);
        let (_, server) = self.ends();
        [own, others].into_iter().find(|end| *end != server)
    }

    /// The ends of both halves, if addresses are translated between them.
    fn halves(&self) -> Vec<Ends> {
        let Some(other) = self.other else {
            return Vec::new();
        };
        [self.flow, other]
            .map(|half| {
                let (client, server) = oriented(half);
                Ends {
                    src: client.into(),
                    dst: server.into(),
                }
            })
            .to_vec()
    }

    /// Interfaces it was seen on.
    pub fn links(&self) -> Vec<u32> {
        let mut links: Vec<u32> = self.flow.links.iter().collect();
        for link in self.other.iter().flat_map(|other| other.links.iter()) {
            if !links.contains(&link) {
                links.push(link);
            }
        }
        links
    }

    /// The end at which it was seen, if that can be determined.
    pub fn reporter(&self) -> Option<Word<Reporter>> {
        let halves = [Some(self.flow), self.other];
        let at = |side: Side| {
            halves.into_iter().flatten().any(|flow| {
                let swapped = flow.classifier.client_is_server();
                flow.links.seen_at[if swapped { side.other() } else { side } as usize]
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

    /// Nothing more is reported about it.
    pub fn is_closed(&self) -> bool {
        self.flow.is_closed()
    }

    /// The record that is printed and streamed.
    pub fn record(&self) -> FlowRecord {
        let finding = self.finding();
        let unseen = self.unseen();
        let (client, server) = self.ends();
        let (first, second) = if self.flow.classifier.client_is_server() {
            (Side::Server, Side::Client)
        } else {
            (Side::Client, Side::Server)
        };
        FlowRecord {
            connection: Some(self.number()),
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
            lost: unseen.contains(&Unseen::Samples),
            tls: finding.tls,
            http: finding.http,
            bytes: Bytes {
                client: self.flow.bytes(first),
                server: self.flow.bytes(second),
            },
            first_seen: Time::from_nanos(self.first_seen()),
            last_seen: Time::from_nanos(self.last_seen()),
            closed: self.flow.ended,
            links: self.links(),
            unseen: unseen.into_iter().map(Word::from).collect(),
            halves: self.halves(),
            notes: finding.notes,
            ..FlowRecord::default()
        }
    }
}

/// A digest of both initial sequence numbers, the same on every node. Not the numbers themselves:
/// with those of an open connection, anybody could forge segments of it.
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

/// The verdict and details of one half: its classifier's, if nothing contradicts them.
fn verdict(flow: &Flow) -> Verdict {
    use Verdict::{Failed, Mtls, NoData, Tls, TlsUnproven, Unobserved};
    match flow.classifier.verdict() {
        NoData if flow.classifier.is_idle() && flow.emptiness().is_err() => Unobserved,
        Mtls | Tls if flow.is_contested() => TlsUnproven,
        Failed | NoData if flow.is_contested() => Unobserved,
        verdict => verdict,
    }
}

fn finding(flow: &Flow) -> Finding {
    let mut finding = flow.classifier.finding();
    let said = std::mem::replace(&mut finding.verdict, verdict(flow));
    if flow.classifier.is_idle() {
        let (Ok((cause, words)) | Err((cause, words))) = flow.emptiness();
        finding.cause = cause;
        finding.reason = SmolStr::new_static(words);
    } else if said != finding.verdict {
        finding.cause = Cause::Contested;
        finding.reason = SmolStr::new_static(CONTESTED);
    } else if !flow.classifier.is_done()
        && finding.verdict == Verdict::Unobserved
        && let Some((cause, words)) = flow.why_incomplete()
    {
        finding.cause = cause;
        finding.reason = SmolStr::new_static(words);
    }
    if flow.is_contested() {
        finding.notes.push(format!("conflicting-data: {CONTESTED}"));
    }
    let noted = NOTES.iter().filter(|(bit, _)| flow.notes & bit != 0);
    finding
        .notes
        .extend(noted.map(|(_, words)| (*words).to_owned()));
    // The content shows which side is which.
    let by_content =
        finding.protocol != "unknown" && finding.evidence != Some(Evidence::RecordFraming);
    if flow.notes & NOTE_DIRECTION != 0 && !by_content && !flow.classifier.client_is_server() {
        finding.notes.push(
            "direction-unknown: the start was not seen, and the ports do not show which side is the client".into(),
        );
    }
    finding
}

const CONTESTED: &str = "different bytes were sent for the same part of the stream; it is unknown which of them the receiver accepted";

/// Client and server, in the order shown by the content.
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
