//! The verdict on a DTLS connection as a function of what was seen.

use super::Dtls;
use crate::classify::call::{Call, Reason};
use crate::classify::datagram::handshake::unproven;
use crate::classify::datagram::quic::Shape;
use crate::classify::tls::null_cipher;
use crate::classify::{Context, Side};
use crate::record::{Cause, ClientCertificate, Evidence, Verdict};
use crate::wire::tls::names::CipherKind;

impl Dtls {
    /// Decides what can be decided.
    pub(in crate::classify::datagram) fn finish(&mut self, lost: bool, context: &mut Context<'_>) {
        self.evaluate(Some(lost), context);
    }

    pub(super) fn evaluate(&mut self, over: Option<bool>, context: &mut Context<'_>) -> bool {
        let call = match self.broken {
            Some(broken) => Some(broken.call()),
            None => self.judge(over, context),
        };
        let Some(call) = call else { return false };
        match &mut self.call {
            Some(old) if !old.may_become(&call) => false,
            old => {
                *old = Some(call);
                true
            }
        }
    }

    /// The verdict; `over`: whether nothing more will come, and whether samples were lost.
    fn judge(&mut self, over: Option<bool>, context: &mut Context<'_>) -> Option<Call> {
        if self.messages.iter().any(|side| side.conflict) {
            return over.map(|_| {
                unproven((
                    Cause::HelloContradicts,
                    "its handshake messages contradict themselves",
                ))
            });
        }
        if self.accepted {
            self.handshake.completed = Some(true);
        }
        if let Some(alert) = self.alert.filter(|_| !self.accepted) {
            // Until nothing else comes, an encrypted record may be another message.
            if alert.1.is_some() || over.is_some() {
                return Some(self.ended_by(alert));
            }
        }
        let Some(chosen) = self.handshake.chosen else {
            return over.map(|_| unproven((Cause::HandshakeNotSeen, "no ServerHello was seen")));
        };
        if chosen.kind() == CipherKind::Null {
            return Some(null_cipher());
        }
        if chosen.is_13() {
            return self.modern(over, context);
        }
        if self.is_resumed() {
            self.handshake.resumed = Some(true);
            if !self.accepted {
                let words = Reason::Unanswered("client resumed a session");
                return over.map(|_| unproven(words));
            }
            return Some(self.handshake.by_name(&self.resumes, context));
        }
        let call = self.classic(chosen.kind()).or_else(|| {
            over.map(|_| unproven((Cause::HandshakeNotSeen, "the client's flight was not seen")))
        })?;
        if self.handshake.completed == Some(true) {
            self.handshake.resumed = Some(false);
            let names = std::mem::take(&mut self.names);
            self.handshake.remember_as(&names, call.verdict, context);
        } else if over.is_some() && call.verdict == Verdict::Mtls {
            // That it was sent does not mean that it was accepted.
            return Some(
                unproven(Reason::Unanswered("client sent a certificate")).with(call.certificate),
            );
        }
        Some(call)
    }

    /// DTLS 1.2 and earlier: decided by the messages, which are numbered.
    fn classic(&self, kind: CipherKind) -> Option<Call> {
        let of = |verdict, words| {
            let reason = Reason::Said(Cause::Certificates, words);
            Call::new(verdict, Evidence::Certificates, reason)
        };
        if self.certificate == Some(true) {
            return Some(
                of(Verdict::Mtls, "both sides sent certificates in clear")
                    .with(ClientCertificate::Presented),
            );
        }
        let key_exchange = self.key_exchange?;
        Some(match (self.certificate, kind) {
            (_, CipherKind::Psk) => unproven((
                Cause::PreSharedKey,
                "authenticated by a pre-shared key, not by certificates",
            )),
            (_, CipherKind::Anonymous) => {
                unproven((Cause::Anonymous, "the cipher suite authenticates nobody"))
            }
            (Some(_), _) => of(
                Verdict::Tls,
                "server requested a client certificate; client sent none",
            )
            .with(ClientCertificate::NotPresented),
            // Nothing came between the hello and the key exchange.
            (None, _) if key_exchange == self.hello + 1 => {
                of(Verdict::Tls, "server did not request a client certificate")
                    .with(ClientCertificate::NotRequested)
            }
            (None, _) => return None,
        })
    }

    /// DTLS 1.3: decided by the lengths of records.
    fn modern(&mut self, over: Option<bool>, context: &mut Context<'_>) -> Option<Call> {
        let chosen = self.handshake.chosen?;
        if chosen.psk {
            return Some(self.handshake.by_psk("dtls", context));
        }
        if !self.accepted && over.is_none() {
            return None;
        }
        let record = |verdict, len, words| {
            Call::new(
                verdict,
                Evidence::HandshakeShape,
                Reason::Record(len, words),
            )
        };
        let call = match self.client_records.shape(chosen.hash()) {
            Shape::Certificate(len) => record(Verdict::Mtls, len, "client sent a certificate")
                .with(ClientCertificate::Presented),
            Shape::Finished(_) if over == Some(true) => unproven((
                Cause::SamplesLost,
                "samples were lost, and with them maybe the client's certificate",
            )),
            Shape::Finished(len) => record(Verdict::Tls, len, "client sent no certificate"),
            Shape::Strange(len) => record(
                Verdict::TlsUnproven,
                len,
                "unknown whether the client sent a certificate: the length fits neither",
            ),
            Shape::Split | Shape::Settings(_) | Shape::Padded => {
                // A shorter record may follow.
                over?;
                unproven((
                    Cause::PaddingNotExcluded,
                    "unknown whether the client sent a certificate: it pads its records",
                ))
            }
            Shape::Nothing => {
                over?;
                unproven((Cause::HandshakeNotSeen, "the client's flight was not seen"))
            }
        };
        if self.accepted {
            self.handshake.remember("dtls", call.verdict, context);
        } else if self.server_seen {
            return Some(unproven((
                Cause::ClientLeft,
                "it is unknown whether the server accepted the client's flight",
            )));
        }
        Some(call)
    }

    fn ended_by(&mut self, (side, code): (Side, Option<u8>)) -> Call {
        self.handshake.completed = Some(false);
        let who = match side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let reason = match code {
            Some(code) => {
                self.handshake.alert = Some(code);
                Reason::Alert(who, code)
            }
            None => Reason::Said(
                Cause::Alert,
                match side {
                    Side::Client => "the client ended the handshake with an encrypted alert",
                    Side::Server => "the server ended the handshake with an encrypted alert",
                },
            ),
        };
        let shown = self.certificate.is_some()
            || matches!(
                self.client_records
                    .shape(self.handshake.chosen.map_or(32, |c| c.hash())),
                Shape::Certificate(_)
            );
        let certificate = if shown && side == Side::Server {
            ClientCertificate::Refused
        } else {
            ClientCertificate::Unknown
        };
        Call::new(Verdict::Failed, Evidence::HandshakeShape, reason).with(certificate)
    }
}
