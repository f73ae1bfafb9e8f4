//! TLS 1.3, mutual or not: decided by the shape of the client's flight, and the server's reaction.

use super::facts::Chosen;
use super::judge::{CLOSED, Ends, null_cipher};
use super::shape::{self, Shape};
use super::{Record, Tls};
use crate::classify::call::{Call, Reason};
use crate::classify::hello::Flight;
use crate::classify::sessions::{self, Session, Tickets};
use crate::classify::{Context, Side};
use crate::record::{Cause, ClientCertificate, Evidence, Verdict};
use crate::wire::tls::names::{self, CipherKind};
use crate::wire::tls::{ContentType, RecordHeader};

/// The outcome of the handshake after the client's flight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Refused(Cause, &'static str),
    /// The client had closed before the server sent anything: an alert is then a rejection or a
    /// close_notify, and silence may mean either.
    Left,
    NotYet,
}

const REFUSED: Outcome = Outcome::Refused(
    Cause::Alert,
    "server ended the handshake with an encrypted alert",
);

impl Tls {
    pub(super) fn modern(&mut self, ends: &Ends, context: &mut Context<'_>) -> Option<Call> {
        let (hello, chosen) = (self.facts.hello.as_ref()?, self.facts.chosen.as_ref()?);
        let short_tag = if names::has_short_tag(chosen.cipher) {
            8
        } else {
            0
        };
        // Early data precedes the ServerHello's arrival at the client; a retransmission may
        // acknowledge more than the original.
        let early = |r: &&Record| {
            hello.early_data && (r.ack < self.answered.end || r.start < ends.unanswered)
        };
        let records = self.lanes[0].records.iter().skip_while(early);
        let first = records.clone().next().copied();
        let lengths: smallvec::SmallVec<[u16; 8]> =
            records.map(|r| r.len.saturating_add(short_tag)).collect();
        let (psk, early) = (chosen.psk, hello.early_data);
        let flight = Flight {
            hash: names::hash_len(chosen.cipher),
            together: self.written.together(),
            ..hello.flight
        };
        let judged = |complete| {
            if early {
                shape::judge_behind_early_data(&lengths, complete, flight)
            } else {
                shape::judge(&lengths, complete, flight)
            }
        };
        let mut outcome = first.map_or(Outcome::NotYet, |first| {
            self.outcome(&first, short_tag, ends)
        });
        // A client without a certificate request is not rejected: what ends the connection is a
        // normal close.
        if matches!(outcome, Outcome::Refused(..)) && judged(true) == Shape::NotAsked {
            outcome = Outcome::NotYet;
        }
        if matches!(outcome, Outcome::Accepted | Outcome::Refused(..)) {
            self.facts.completed = Some(outcome == Outcome::Accepted);
        }
        if self.facts.chosen.as_ref()?.kind == CipherKind::Null {
            return first.map(|_| null_cipher());
        }
        if let Some(chosen) = psk {
            return Some(self.resumed(chosen, context));
        }
        let over = ends.complete(Side::Client) || ends.over && !ends.hole[0];
        let Some(first) = first else {
            return ends.is_over(Side::Client).then(|| {
                self.failed(Reason::Said(
                    Cause::ClosedInHandshake,
                    "client closed the connection during the handshake",
                ))
            });
        };
        if first.content != ContentType::ApplicationData {
            return Some(self.unproven((
                Cause::HelloContradicts,
                "the client's flight is not encrypted as TLS 1.3 wants it",
            )));
        }
        let shape = judged(over);
        let mut call = self.by_shape(first.len, shape)?;
        // If nothing was sent, there is nothing to reject.
        if outcome == Outcome::Left && call.certificate != ClientCertificate::NotRequested {
            return Some(self.unproven(Reason::Left).with(call.certificate));
        }
        // Whatever a padded flight contained, it was not accepted.
        let is_flight = matches!(call.verdict, Verdict::Mtls | Verdict::Tls);
        if let Outcome::Refused(cause, words) = outcome
            && (is_flight || matches!(shape, Shape::Padded | Shape::Fragments))
        {
            call = self
                .failed(Reason::Said(cause, words))
                .with(match call.certificate {
                    ClientCertificate::NotRequested => ClientCertificate::NotRequested,
                    _ => ClientCertificate::Refused,
                });
        } else if outcome == Outcome::Accepted {
            self.remember_peers(call.verdict, &first, context);
        }
        Some(call)
    }

    /// `first`: the length of the first record on the wire.
    pub(super) fn by_shape(&self, first: u16, shape: Shape) -> Option<Call> {
        let of = |verdict, reason| Call::new(verdict, self.evidence(), reason);
        Some(match shape {
            Shape::Certificate => of(Verdict::Mtls, Reason::Flight("a certificate", first))
                .with(ClientCertificate::Presented),
            Shape::RawKey => of(Verdict::Mtls, Reason::Flight("a raw public key", first))
                .with(ClientCertificate::Presented),
            Shape::NotAsked => {
                of(Verdict::Tls, Reason::NotRequested).with(ClientCertificate::NotRequested)
            }
            Shape::NotGiven => {
                of(Verdict::Tls, Reason::NotPresented).with(ClientCertificate::NotPresented)
            }
            Shape::Alert => of(
                Verdict::Failed,
                Reason::Said(
                    Cause::Alert,
                    "client ended the handshake with an encrypted alert",
                ),
            ),
            Shape::Padded => of(Verdict::TlsUnproven, Reason::Padded(first)),
            Shape::Fragments => of(
                Verdict::TlsUnproven,
                Reason::Record(
                    first,
                    "unknown whether the client sent a certificate: the fragments are too small",
                ),
            ),
            Shape::EarlyData => of(
                Verdict::TlsUnproven,
                Reason::Record(
                    first,
                    "unknown whether the client sent a certificate, or early data that the server rejected",
                ),
            ),
            Shape::Settings => of(
                Verdict::TlsUnproven,
                Reason::Record(
                    first,
                    "unknown whether the client sent a certificate or application settings (ALPS)",
                ),
            ),
            Shape::Unknown => of(
                Verdict::TlsUnproven,
                Reason::Record(
                    first,
                    "unknown whether the client sent a certificate: this is no message of its own, but padded or a fragment",
                ),
            ),
            Shape::NeedMore => return None,
        })
    }

    /// The server's reaction after the client's flight began: alerts that end its stream, or only
    /// the end, mean that it rejected the client; anything else means that it accepted the flight.
    pub(super) fn outcome(&self, first: &Record, short_tag: u16, ends: &Ends) -> Outcome {
        if let Some(completed) = self.facts.completed {
            return if completed {
                Outcome::Accepted
            } else {
                REFUSED
            };
        }
        let mut answers = self.lanes[1]
            .records
            .iter()
            .filter(|r| r.ack >= first.end());
        let Some(answer) = answers.next() else {
            return if !ends.is_over(Side::Server) {
                Outcome::NotYet
            } else if ends.client_left_first {
                Outcome::Left
            } else {
                Outcome::Refused(Cause::ClosedInHandshake, CLOSED)
            };
        };
        // Until TLS 1.2, the type of a record is unencrypted.
        let hides_types = self.facts.chosen.as_ref().is_some_and(Chosen::is_13);
        let alert = |r: &Record| {
            r.content == ContentType::Alert
                || hides_types && shape::is_alert(r.len.saturating_add(short_tag))
        };
        // Some send close_notify after the alert; until TLS 1.2, one may be 80 bytes long.
        let one = if hides_types { 35 } else { 80 };
        let longest = 2 * (RecordHeader::LEN as u64 + one);
        let rest = ends.seen[1].saturating_sub(answer.start);
        if !alert(answer) || !answers.all(alert) || rest > longest {
            Outcome::Accepted
        } else if !ends.is_over(Side::Server) {
            Outcome::NotYet
        } else if ends.complete(Side::Client) && answer.ack > ends.seen[0] {
            Outcome::Left
        } else {
            REFUSED
        }
    }

    /// A pre-shared key was accepted: nobody sends a certificate.
    fn resumed(&mut self, chosen: u16, context: &Context<'_>) -> Call {
        if self
            .facts
            .hello
            .as_ref()
            .is_some_and(|hello| hello.external_psk)
        {
            return self.unproven((
                Cause::PreSharedKey,
                "authenticated by a pre-shared key, not by certificates",
            ));
        }
        if self.facts.origin().is_none() {
            let name = self
                .facts
                .hello
                .as_ref()
                .and_then(|h| h.server_name.as_deref());
            // The lengths of the other identities were not kept.
            let ticket = self.offered.psk.filter(|_| chosen == 0);
            self.facts.rest().origin = Some(sessions::of_peers(context, name, ticket));
        }
        self.inherited(
            Evidence::Inherited,
            "resumed; inherited from the last full handshake of these peers, which was mutual",
            "resumed; inherited from the last full handshake of these peers, which was not mutual",
        )
    }

    fn remember_peers(&mut self, verdict: Verdict, first: &Record, context: &mut Context<'_>) {
        let hello = self.facts.hello.clone();
        let name = hello.as_ref().and_then(|h| h.server_name.as_deref());
        let is_unknown = verdict == Verdict::TlsUnproven;
        if is_unknown && !std::mem::replace(&mut self.facts.remembered, true) {
            let session = Session {
                mutual: false,
                time: self.facts.time,
                certificates: [None, None],
            };
            return sessions::doubt_peers(context, name, session);
        }
        let Some(session) = self.session(verdict) else {
            return;
        };
        // A server that requests a certificate issues no ticket before it has received one.
        let given = |r: &&Record| !session.mutual || r.ack >= first.end();
        let mut tickets = Tickets::default();
        let records = self.lanes[1].records.iter().filter(given);
        for (slot, record) in tickets.iter_mut().zip(records) {
            *slot = record.len;
        }
        sessions::remember_peers(context, name, session, tickets);
    }

    /// This handshake as a session to remember: once, and only if it is a full one.
    pub(super) fn session(&mut self, verdict: Verdict) -> Option<Session> {
        let mutual = match verdict {
            Verdict::Mtls => true,
            Verdict::Tls => false,
            _ => return None,
        };
        (!std::mem::replace(&mut self.facts.remembered, true)).then(|| Session {
            mutual,
            time: self.facts.time,
            certificates: self.facts.certificates(),
        })
    }
}
