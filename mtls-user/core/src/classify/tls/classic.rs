//! TLS 1.2 and earlier, mutual or not: decided by the messages, which are unencrypted.

use super::Tls;
use super::facts::{Facts, FirstItem, Late};
use super::judge::{CLOSED, Ends, null_cipher};
use super::modern::Outcome;
use super::sealed::Flight;
use crate::classify::call::{Call, Reason};
use crate::classify::sessions::Origin;
use crate::classify::{Context, Side};
use crate::record::{Cause, ClientCertificate, Evidence, Verdict};
use crate::wire::tls::names::{self, CipherKind};

/// The least length of a client's flight with a certificate.
const SHORTEST: u16 = 400;
/// What a client did whose session ticket or ID the server knows.
pub(super) const RESUMED: &str = "client resumed a session";
/// A flight without a certificate is shorter: an 8,192-bit public value takes 1,030 bytes.
const LONGEST_EXCHANGE: u16 = 1200;

impl Facts {
    /// The client authenticated in a renegotiation, which exists only in TLS 1.2 and earlier.
    pub(in crate::classify) fn renegotiate(&mut self, flight: Flight) -> Option<Call> {
        let chosen = self.chosen.as_ref().filter(|c| !c.is_13())?;
        self.renegotiated = true;
        // An elliptic-curve key exchange is short; other kinds may be as long as a certificate. The
        // second handshake may use another kind than the first.
        let curves = names::cipher(chosen.cipher).contains("_ECDHE_");
        self.late = self.late.max(match flight.bytes {
            ..SHORTEST => Late::No,
            LONGEST_EXCHANGE.. => Late::Yes,
            _ if curves && flight.several => Late::Yes,
            _ => Late::Unclear,
        });
        self.by_renegotiation()
    }

    /// The effect of a renegotiation on a connection that was not mutual.
    fn by_renegotiation(&self) -> Option<Call> {
        let kind = self.chosen.as_ref()?.kind;
        let first = self.first?;
        if kind != CipherKind::Ordinary
            || matches!(first, FirstItem::Certificate | FirstItem::Unreadable)
        {
            return None;
        }
        let of = |verdict, reason| Call::new(verdict, Evidence::HandshakeShape, reason);
        match self.late {
            Late::No => None,
            Late::Unclear => Some(of(Verdict::TlsUnproven, Reason::RenegotiatedUnclear)),
            Late::Yes => {
                Some(of(Verdict::Mtls, Reason::Renegotiated).with(ClientCertificate::Presented))
            }
        }
    }
}

impl Tls {
    pub(super) fn classic(&mut self, ends: &Ends, context: &mut Context<'_>) -> Option<Call> {
        let kind = self.facts.chosen.as_ref()?.kind;
        let resumed = self.facts.first == Some(FirstItem::ChangeCipherSpec);
        if self.facts.completed.is_none() && self.facts.first.is_some() {
            // In a full handshake, the server's ChangeCipherSpec comes last; otherwise the
            // client's.
            let finished = self.lanes[0].records.first().copied();
            if resumed && self.lanes[1].changed {
                // The server's answer shows whether it has accepted the client's Finished: a ticket
                // is unencrypted, so that anybody may send it again.
                let outcome = finished.map(|finished| self.outcome(&finished, 0, ends));
                match outcome.unwrap_or(Outcome::NotYet) {
                    Outcome::Accepted => self.facts.completed = Some(true),
                    Outcome::Refused(cause @ Cause::Alert, words) => {
                        self.facts.completed = Some(false);
                        return Some(self.failed(Reason::Said(cause, words)));
                    }
                    // Without an alert, it may have read what it wanted.
                    Outcome::Refused(..) => {
                        return Some(self.unproven(Reason::Unanswered(RESUMED)));
                    }
                    Outcome::Left => return Some(self.unproven(Reason::Left)),
                    Outcome::NotYet => {}
                }
            } else if self.lanes[1].changed {
                self.facts.completed = Some(true);
            } else if ends.is_over(Side::Server) {
                self.facts.completed = Some(false);
            }
        }
        let silent = self.facts.first.is_none() && !self.lanes[0].messages.is_poisoned();
        if self.facts.completed.is_none() && ends.is_over(Side::Client) && silent {
            self.facts.completed = Some(false);
            return Some(self.failed(Reason::Said(
                Cause::ClosedInHandshake,
                "client closed the connection during the handshake",
            )));
        }
        if self.facts.completed == Some(false) {
            let words = match self.facts.first {
                None => "connection closed during the handshake",
                Some(_) => CLOSED,
            };
            return Some(self.failed(Reason::Said(Cause::ClosedInHandshake, words)));
        }
        if resumed {
            if kind == CipherKind::Null {
                return Some(null_cipher());
            }
            self.find_origin(context);
            let call = self.inherited(
                Evidence::Resumption,
                "resumed; the original handshake was mutual",
                "resumed; the original handshake was not mutual",
            );
            self.remember_names(call.verdict, context);
            return Some(self.renegotiated(call));
        }
        let call = self.by_messages(kind)?;
        self.remember_names(call.verdict, context);
        Some(self.renegotiated(call))
    }

    /// A verdict of the first handshake, after any later one.
    fn renegotiated(&self, call: Call) -> Call {
        let later = matches!(call.verdict, Verdict::Tls | Verdict::TlsUnproven);
        let later = later.then(|| self.facts.by_renegotiation());
        later.flatten().unwrap_or(call)
    }

    fn by_messages(&self, kind: CipherKind) -> Option<Call> {
        let of = |verdict, words| {
            let reason = Reason::Said(Cause::Certificates, words);
            Call::new(verdict, Evidence::Certificates, reason)
        };
        let first = self.facts.first?;
        Some(match (first, kind) {
            (FirstItem::Unreadable | FirstItem::ChangeCipherSpec, _) => return None,
            (_, CipherKind::Null) => null_cipher(),
            (FirstItem::Certificate, _) => {
                let words = if self.facts.certificates()[1].is_some() {
                    "both sides sent certificates"
                } else {
                    "client sent a certificate"
                };
                of(Verdict::Mtls, words).with(ClientCertificate::Presented)
            }
            (FirstItem::NoCertificate, _) => {
                Call::new(Verdict::Tls, Evidence::Certificates, Reason::NotPresented)
                    .with(ClientCertificate::NotPresented)
            }
            (FirstItem::KeyExchange, CipherKind::Psk) => self.unproven((
                Cause::PreSharedKey,
                "authenticated by a pre-shared key, not by certificates",
            )),
            (FirstItem::KeyExchange, CipherKind::Anonymous) => {
                self.unproven((Cause::Anonymous, "the cipher suite authenticates nobody"))
            }
            (FirstItem::KeyExchange, CipherKind::Ordinary) if self.facts.no_certificate => {
                Call::new(Verdict::Tls, Evidence::Certificates, Reason::NotPresented)
                    .with(ClientCertificate::NotPresented)
            }
            (FirstItem::KeyExchange, CipherKind::Ordinary) => {
                Call::new(Verdict::Tls, Evidence::Certificates, Reason::NotRequested)
                    .with(ClientCertificate::NotRequested)
            }
        })
    }

    /// The session that this one continues, by the ticket or the session id that the client
    /// offered.
    fn find_origin(&mut self, context: &Context<'_>) {
        if self.facts.origin().is_some() {
            return;
        }
        let offered = &self.offered;
        let echoed = offered
            .session
            .filter(|_| offered.session == self.answered.session);
        let found = [offered.ticket, echoed]
            .into_iter()
            .flatten()
            .find_map(|name| context.sessions.find(name))
            .cloned();
        let origin = found.map_or(Origin::Unknown, Origin::Known);
        self.facts.rest().origin = Some(origin);
    }

    /// Remembers this session under the names by which it can be resumed.
    fn remember_names(&mut self, verdict: Verdict, context: &mut Context<'_>) {
        if self.facts.completed != Some(true) {
            return;
        }
        // An id that the server only echoed is the name of the resumed session.
        let ticket = self.answered.ticket;
        let own = self
            .answered
            .session
            .filter(|id| Some(*id) != self.offered.session);
        let session = match self.facts.origin() {
            Some(Origin::Known(session)) => {
                let first = !self.facts.remembered;
                let session = first.then(|| session.clone());
                self.facts.remembered = true;
                session
            }
            _ => self.session(verdict),
        };
        if let Some(session) = session {
            for name in [ticket, own].into_iter().flatten() {
                context.sessions.remember(name, session.clone());
            }
        }
    }
}
