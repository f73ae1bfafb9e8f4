//! The verdict as a function of the facts.
//!
//! TLS 1.2 and earlier show the messages; TLS 1.3 shows lengths ([`super::shape`]). The function is
//! monotone: more facts turn "not yet" into a decision, and change a decision only if they
//! contradict it ([`Call::may_become`]).

use smallvec::SmallVec;

use super::classic::RESUMED;
use super::facts::{Chosen, FirstItem, Offered};
use super::{Tls, shape};
use crate::classify::call::{Broken, Call, Reason};
use crate::classify::sessions::Origin;
use crate::classify::{Context, Side};
use crate::record::{Cause, ClientCertificate, Evidence, Verdict};
use crate::wire::tls::ContentType;

/// Why a handshake failed to which the server gave no answer.
pub(super) const CLOSED: &str = "server closed the connection after the client's flight";

/// Why a certificate that the client sent proves nothing.
const CLIENT_ALONE: (Cause, &str) = (
    Cause::HandshakeNotSeen,
    "client sent a certificate, but the server's side was not seen",
);

/// How the connection ended, as far as it has ended.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::classify) struct Ends {
    /// Per side: it closed its stream, and every byte of it was seen.
    pub(in crate::classify) complete: [bool; 2],
    /// Per side: it has ended, and bytes are missing.
    pub(in crate::classify) hole: [bool; 2],
    /// Per side: end of the last byte that was on the wire.
    pub(in crate::classify) seen: [u64; 2],
    /// How much the client had sent before it received anything from the server.
    pub(in crate::classify) unanswered: u64,
    /// The server closed its stream in response to the client's close.
    pub(in crate::classify) client_left_first: bool,
    /// Both sides closed it, or it was reset.
    pub(in crate::classify) closed: bool,
    /// Nothing more will be seen of it.
    pub(in crate::classify) over: bool,
}

impl Ends {
    pub(super) fn complete(&self, side: Side) -> bool {
        self.complete[side.index()]
    }

    fn hole(&self) -> bool {
        self.hole[0] || self.hole[1]
    }

    /// Whether the side will send nothing more, and everything it sent is known.
    pub(super) fn is_over(&self, side: Side) -> bool {
        self.complete(side) || self.over && self.closed && !self.hole[side.index()]
    }
}

impl Tls {
    /// The verdict, as soon as the facts give one.
    pub(super) fn judge(&mut self, ends: &Ends, context: &mut Context<'_>) -> Option<Call> {
        if let Some(call) = self.broken() {
            return Some(call);
        }
        if let Some(call) = self.ended_by_alert(ends) {
            return Some(call);
        }
        let call = match &self.facts.chosen {
            None => self.without_server_hello(ends),
            Some(_) if self.facts.hello.is_none() => ends.over.then(|| {
                self.unproven((
                    Cause::HandshakeNotSeen,
                    "part of the ClientHello was not seen",
                ))
            }),
            Some(chosen) if chosen.is_13() => self.modern(ends, context),
            Some(_) => self.classic(ends, context),
        };
        let call = call.or_else(|| ends.over.then(|| self.undecided(ends)))?;
        // That it was sent does not mean that it was accepted.
        if ends.over && call.verdict == Verdict::Mtls && self.facts.is_unconfirmed() {
            let what = match call.evidence {
                Some(Evidence::Resumption) => RESUMED,
                _ => "client sent a certificate",
            };
            let call = self
                .unproven(Reason::Unanswered(what))
                .with(call.certificate);
            return Some(call);
        }
        Some(call)
    }

    /// The end of the handshake was seen: there is nothing more to learn.
    pub(in crate::classify) fn is_settled(&self) -> bool {
        self.facts.completed.is_some()
    }

    /// The verdict function of each version.
    pub(super) fn evidence(&self) -> Evidence {
        match &self.facts.chosen {
            None => Evidence::FirstBytes,
            Some(chosen) if chosen.is_13() => Evidence::HandshakeShape,
            Some(_) => Evidence::Certificates,
        }
    }

    pub(super) fn unproven(&self, reason: impl Into<Reason>) -> Call {
        // Certificates would have proved it.
        let evidence = match self.evidence() {
            Evidence::Certificates => Evidence::HandshakeShape,
            other => other,
        };
        Call::new(Verdict::TlsUnproven, evidence, reason.into())
    }

    pub(super) fn failed(&self, reason: Reason) -> Call {
        let given = matches!(
            self.facts.first,
            Some(FirstItem::Certificate | FirstItem::NoCertificate)
        );
        let call = Call::new(Verdict::Failed, self.evidence(), reason);
        if given {
            call.with(ClientCertificate::Refused)
        } else {
            call
        }
    }

    /// What the server sent instead of a ServerHello or an alert.
    pub(in crate::classify) fn answer_in_clear(&self) -> Option<Broken> {
        let silent = self.facts.chosen.is_none() && !self.facts.retried;
        self.lanes[1].broken.filter(|_| silent)
    }

    /// Bytes that are not TLS.
    fn broken(&self) -> Option<Call> {
        self.lanes
            .iter()
            .find_map(|lane| lane.broken)
            .map(Broken::call)
    }

    fn ended_by_alert(&self, ends: &Ends) -> Option<Call> {
        let alert = self
            .facts
            .alert
            .filter(|_| self.facts.completed.is_none())?;
        let by = match alert.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        // A warning ends the handshake only if the end follows.
        let ended = alert.is_fatal()
            || ends.complete(alert.side)
            || ends.over
            || self.facts.chosen.as_ref().is_some_and(Chosen::is_13);
        let call = self.failed(Reason::Alert(by, alert.code));
        // Only a server rejects a client's certificate.
        ended.then(|| match alert.side {
            Side::Client => call.with(ClientCertificate::Unknown),
            Side::Server => call,
        })
    }

    fn without_server_hello(&self, ends: &Ends) -> Option<Call> {
        if self.facts.malformed && (ends.over || ends.is_over(Side::Server)) {
            let reason = Reason::Said(Cause::UnknownBytes, "malformed ClientHello");
            return Some(Call::new(Verdict::Opaque, Evidence::FirstBytes, reason));
        }
        if ends.is_over(Side::Server) && !self.lanes[1].messages.is_poisoned() {
            return Some(self.failed(Reason::Said(
                Cause::ClosedInHandshake,
                "server closed the connection without a ServerHello",
            )));
        }
        let hello = self.facts.hello.as_ref().filter(|_| ends.over)?;
        // TLS 1.2 shows what the client sent, but not the suite, which may be unencrypted, nor
        // whether the server had a certificate.
        match self.facts.first {
            Some(FirstItem::Certificate) => {
                let call = self.unproven(CLIENT_ALONE);
                return Some(call.with(ClientCertificate::Presented));
            }
            Some(FirstItem::NoCertificate) => {
                let words = "client sent no certificate, and the server's side was not seen";
                let call = self.unproven((Cause::HandshakeNotSeen, words));
                return Some(call.with(ClientCertificate::NotPresented));
            }
            _ => {}
        }
        // Only in TLS 1.3 can encrypted records follow a ClientHello without a readable message in
        // between; the client's direction is enough if it offered no pre-shared key and no suite
        // without encryption.
        let Offered {
            psk,
            short_tag,
            null,
            ..
        } = self.offered;
        let first = self.lanes[0].records.first()?;
        let encrypted = first.content == ContentType::ApplicationData;
        if psk.is_some()
            || short_tag
            || null
            || hello.early_data
            || !encrypted
            || hello.version < 0x0304
        {
            return None;
        }
        let lengths: SmallVec<[u16; 8]> = self.lanes[0].records.iter().map(|r| r.len).collect();
        let mut call = self.by_shape(first.len, shape::judge(&lengths, true, hello.flight))?;
        if call.verdict == Verdict::Mtls {
            // Whether the server accepted the certificate, and which suite it chose, was not seen.
            call = self.unproven(CLIENT_ALONE).with(call.certificate);
        }
        call.evidence = Some(Evidence::HandshakeShape);
        Some(call)
    }

    /// The verdict of the session that this one continues.
    pub(super) fn inherited(
        &self,
        evidence: Evidence,
        mutual: &'static str,
        not: &'static str,
    ) -> Call {
        let (session, verdict, words) = match self.facts.origin() {
            Some(Origin::Known(session)) if session.mutual => (session, Verdict::Mtls, mutual),
            Some(Origin::Known(session)) => (session, Verdict::Tls, not),
            Some(Origin::Mixed) => {
                return self.unproven((
                    Cause::ResumptionUnknown,
                    "resumed; these peers may have had both mutual and server-only handshakes",
                ));
            }
            Some(Origin::Off) => {
                return self.unproven((
                    Cause::ResumptionUnknown,
                    "resumed; inheriting a verdict is switched off",
                ));
            }
            _ => {
                return self.unproven((
                    Cause::ResumptionUnknown,
                    "resumed; its full handshake was not seen",
                ));
            }
        };
        let age = self.facts.time.saturating_sub(session.time) / 1_000_000_000;
        let call = Call::new(verdict, evidence, Reason::Age(words, age as u32));
        if session.mutual {
            call.with(ClientCertificate::Presented)
        } else {
            call
        }
    }

    /// Why the flow ended without a decision.
    fn undecided(&self, ends: &Ends) -> Call {
        let (cause, words) = if self.facts.chosen.is_none() && ends.hole() {
            (
                Cause::SamplesLost,
                "samples were lost before the ServerHello",
            )
        } else if self.facts.chosen.is_none() {
            (Cause::HandshakeNotSeen, "no ServerHello was seen")
        } else if self.facts.first == Some(FirstItem::Unreadable) {
            (
                Cause::HandshakeNotSeen,
                "the client's first message after its hello was not seen",
            )
        } else if ends.hole() {
            (
                Cause::SamplesLost,
                "samples were lost before the client's flight",
            )
        } else {
            (Cause::HandshakeNotSeen, "the client's flight was not seen")
        };
        self.unproven((cause, words))
    }
}

pub(in crate::classify) fn null_cipher() -> Call {
    Call::new(
        Verdict::Plaintext,
        Evidence::FirstBytes,
        Reason::Said(
            Cause::NullCipher,
            "TLS with a cipher suite that encrypts nothing",
        ),
    )
}
