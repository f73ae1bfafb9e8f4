//! The verdict as a function of the facts.
//!
//! TLS 1.2 and before show the messages; TLS 1.3 shows lengths ([`shape`]). Monotone: more facts
//! turn "not yet" into a decision, and change a decision only where they contradict it
//! ([`Call::may_become`]).

use super::facts::{Chosen, Facts, FirstItem};
use super::shape::{self, Shape};
use super::{Record, Tls};
use crate::classify::call::{Call, RENEGOTIATED, Reason};
use crate::classify::sessions::{self, Origin, Session};
use crate::classify::settled::contradicted;
use crate::classify::{Context, Side};
use crate::verdict::{ClientCertificate, Evidence, Verdict};
use crate::wire::tls::names::{self, CipherKind};
use crate::wire::tls::{ContentType, RecordHeader};

/// How the connection ended, as far as it did.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::classify) struct Ends {
    /// Per side: it closed its stream, and every byte of it was seen.
    pub(in crate::classify) complete: [bool; 2],
    /// Per side: bytes are missing.
    pub(in crate::classify) hole: [bool; 2],
    /// Per side: end of the last byte that was on the wire.
    pub(in crate::classify) seen: [u64; 2],
    /// The server closed its stream in answer to the client's close.
    pub(in crate::classify) client_left_first: bool,
    /// It was closed by both or reset.
    pub(in crate::classify) closed: bool,
    /// Nothing more will be seen of it.
    pub(in crate::classify) over: bool,
}

impl Ends {
    fn complete(&self, side: Side) -> bool {
        self.complete[side.index()]
    }

    fn hole(&self) -> bool {
        self.hole[0] || self.hole[1]
    }

    /// The side will send nothing more, and everything it sent is known.
    fn is_over(&self, side: Side) -> bool {
        self.complete(side) || self.over && self.closed && !self.hole[side.index()]
    }
}

/// What became of the handshake after the client's flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused(&'static str),
    NotYet,
}

const REFUSED: &str = "the server ended the handshake with an encrypted alert";
const CLOSED: &str = "the server closed the connection after the client's flight";

impl Facts {
    /// The client authenticated in a renegotiation, which only TLS 1.2 and before have.
    pub(in crate::classify) fn renegotiate(&mut self, bytes: u32) -> Option<Call> {
        let chosen = self.chosen.as_ref().filter(|c| !c.is_13())?;
        self.renegotiated = true;
        // A key exchange on curves is short; other kinds are as long as a certificate.
        let curves = names::cipher(chosen.cipher).contains("_ECDHE_");
        self.authenticated_late |= bytes >= if curves { 400 } else { 1200 };
        (self.authenticated_late && self.first == Some(FirstItem::KeyExchange)).then(|| {
            Call::new(
                Verdict::Mtls,
                Evidence::HandshakeShape,
                Reason::Text(RENEGOTIATED),
            )
            .with(ClientCertificate::Presented)
        })
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
            Some(_) if self.facts.hello.is_none() => ends
                .over
                .then(|| self.unproven("part of the ClientHello was not seen")),
            Some(chosen) if chosen.is_13() => self.modern(ends, context),
            Some(_) => self.classic(ends, context),
        };
        call.or_else(|| ends.over.then(|| self.undecided(ends)))
    }

    /// The handshake's end was seen: there is no more to learn.
    pub(in crate::classify) fn is_settled(&self) -> bool {
        self.facts.completed.is_some()
    }

    /// What stands for the verdict of a version.
    fn evidence(&self) -> Evidence {
        match &self.facts.chosen {
            None => Evidence::FirstBytes,
            Some(chosen) if chosen.is_13() => Evidence::HandshakeShape,
            Some(_) => Evidence::Certificates,
        }
    }

    fn unproven(&self, reason: &'static str) -> Call {
        Call::new(Verdict::TlsUnproven, self.evidence(), Reason::Text(reason))
    }

    fn failed(&self, reason: Reason) -> Call {
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

    /// Bytes that are no TLS.
    fn broken(&self) -> Option<Call> {
        self.lanes
            .iter()
            .find_map(|lane| lane.broken)
            .map(contradicted)
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
        // A warning is one of the ways to end only when the end follows.
        let ended = alert.is_fatal()
            || ends.complete(alert.side)
            || ends.over
            || self.facts.chosen.as_ref().is_some_and(Chosen::is_13);
        let call = self.failed(Reason::Alert(by, alert.code));
        // Only a server refuses a client's certificate.
        ended.then(|| match alert.side {
            Side::Client => call.with(ClientCertificate::Unknown),
            Side::Server => call,
        })
    }

    fn without_server_hello(&self, ends: &Ends) -> Option<Call> {
        if ends.is_over(Side::Server) && !self.lanes[1].messages.is_poisoned() {
            return Some(self.failed(Reason::Text(
                "the server closed the connection without a ServerHello",
            )));
        }
        // TLS 1.3's records are the only encrypted ones that can follow a ClientHello without a
        // readable message; the client's direction is enough when no pre-shared key is in play.
        let hello = self.facts.hello.as_ref().filter(|_| ends.over)?;
        let alone = !self.offered.psk && !self.offered.short_tag && !hello.early_data;
        let encrypted = self.lanes[0]
            .records
            .first()
            .is_some_and(|r| r.content == ContentType::ApplicationData);
        let by_messages = matches!(
            self.facts.first,
            Some(FirstItem::Certificate | FirstItem::NoCertificate)
        );
        if by_messages {
            return self.by_messages(CipherKind::Ordinary);
        }
        if !(alone && encrypted && hello.version >= 0x0304) {
            return None;
        }
        let lengths: Vec<u16> = self.lanes[0].records.iter().map(|r| r.len).collect();
        let mut call = self.by_shape(&lengths, true)?;
        call.evidence = Some(Evidence::HandshakeShape);
        Some(call)
    }

    // ---- TLS 1.3 ----

    fn modern(&mut self, ends: &Ends, context: &mut Context<'_>) -> Option<Call> {
        let (hello, chosen) = (self.facts.hello.as_ref()?, self.facts.chosen.as_ref()?);
        let short_tag = if names::has_short_tag(chosen.cipher) {
            8
        } else {
            0
        };
        // Early data comes before the client has the ServerHello.
        let early = |r: &&Record| hello.early_data && r.ack < self.answered.end;
        let flight = self.lanes[0].records.iter().skip_while(early);
        let first = flight.clone().next().copied();
        let lengths: smallvec::SmallVec<[u16; 8]> =
            flight.map(|r| r.len.saturating_add(short_tag)).collect();
        let psk = chosen.psk;
        let mut outcome = first.map_or(Outcome::NotYet, |first| {
            self.outcome(&first, short_tag, ends)
        });
        // A client that gave nothing and left first was not refused: the server answers its
        // close_notify.
        if ends.client_left_first
            && matches!(outcome, Outcome::Refused(_))
            && shape::judge(&lengths, true) == Shape::NotAsked
        {
            outcome = Outcome::NotYet;
        }
        if outcome != Outcome::NotYet {
            self.facts.completed = Some(outcome == Outcome::Accepted);
        }
        if names::cipher_kind(self.facts.chosen.as_ref()?.cipher) == CipherKind::Null {
            return first.map(|_| null_cipher());
        }
        if psk {
            return Some(self.resumed(context));
        }
        let over = ends.complete(Side::Client) || ends.over && !ends.hole[0];
        let Some(first) = first else {
            return ends.is_over(Side::Client).then(|| {
                self.failed(Reason::Text(
                    "the client closed the connection in the handshake",
                ))
            });
        };
        if first.content != ContentType::ApplicationData {
            return Some(self.unproven("the client's flight is not encrypted as TLS 1.3 wants it"));
        }
        let mut call = self.by_shape(&lengths, over)?;
        if let Outcome::Refused(reason) = outcome
            && matches!(call.verdict, Verdict::Mtls | Verdict::Tls)
        {
            call = self
                .failed(Reason::Text(reason))
                .with(match call.certificate {
                    ClientCertificate::NotRequested => ClientCertificate::NotRequested,
                    _ => ClientCertificate::Refused,
                });
        } else if outcome == Outcome::Accepted {
            self.remember_peers(call.verdict, context);
        }
        Some(call)
    }

    fn by_shape(&self, lengths: &[u16], complete: bool) -> Option<Call> {
        let first = *lengths.first()?;
        let of = |verdict, words| Call::new(verdict, self.evidence(), Reason::Record(first, words));
        Some(match shape::judge(lengths, complete) {
            Shape::Certificate => of(Verdict::Mtls, "it holds the client's certificate")
                .with(ClientCertificate::Presented),
            Shape::RawKey => of(Verdict::Mtls, "it holds the client's raw public key")
                .with(ClientCertificate::Presented),
            Shape::NotAsked => of(Verdict::Tls, "Finished alone, no certificate was asked for")
                .with(ClientCertificate::NotRequested),
            Shape::NotGiven => of(
                Verdict::Tls,
                "an empty list, a certificate was asked for but not given",
            )
            .with(ClientCertificate::NotPresented),
            Shape::Alert => of(Verdict::Failed, "an alert"),
            Shape::Padded => of(
                Verdict::TlsUnproven,
                "padding or tiny fragments hide whether it holds a certificate",
            ),
            Shape::Unknown => of(Verdict::TlsUnproven, "no known stack's flight begins so"),
            Shape::NeedMore => return None,
        })
    }

    /// What the server did after the client's flight began: alerts that end its stream, or nothing
    /// but the end, mean that it refused; anything else means that the flight was accepted.
    fn outcome(&self, first: &Record, short_tag: u16, ends: &Ends) -> Outcome {
        if let Some(completed) = self.facts.completed {
            return if completed {
                Outcome::Accepted
            } else {
                Outcome::Refused(REFUSED)
            };
        }
        let mut answers = self.lanes[1]
            .records
            .iter()
            .filter(|r| r.ack >= first.end());
        let Some(answer) = answers.next() else {
            return if ends.is_over(Side::Server) {
                Outcome::Refused(CLOSED)
            } else {
                Outcome::NotYet
            };
        };
        let alert = |r: &Record| {
            r.content == ContentType::Alert || shape::is_alert(r.len.saturating_add(short_tag))
        };
        // Some follow the alert up with close_notify.
        let longest = 2 * (RecordHeader::LEN as u64 + 35);
        let rest = ends.seen[1].saturating_sub(answer.start);
        if !alert(answer) || !answers.all(alert) || rest > longest {
            Outcome::Accepted
        } else if ends.is_over(Side::Server) {
            Outcome::Refused(REFUSED)
        } else {
            Outcome::NotYet
        }
    }

    /// A pre-shared key was accepted: nobody shows a certificate.
    fn resumed(&mut self, context: &Context<'_>) -> Call {
        if self
            .facts
            .hello
            .as_ref()
            .is_some_and(|hello| hello.external_psk)
        {
            return self.unproven("authenticated by a pre-shared key, not by certificates");
        }
        if self.facts.origin.is_none() {
            let name = self
                .facts
                .hello
                .as_ref()
                .and_then(|h| h.server_name.as_deref());
            self.facts.origin = Some(Box::new(sessions::of_peers(context, name)));
        }
        self.inherited(
            "resumed; the last full handshake of these peers was mutual,",
            "resumed; the last full handshake of these peers was not mutual,",
        )
    }

    fn remember_peers(&mut self, verdict: Verdict, context: &mut Context<'_>) {
        if let Some(session) = self.session(verdict) {
            let name = self
                .facts
                .hello
                .as_ref()
                .and_then(|h| h.server_name.as_deref());
            sessions::remember_peers(context, name, session);
        }
    }

    /// This handshake as a session to remember: once, and only when it is a full one.
    fn session(&mut self, verdict: Verdict) -> Option<Session> {
        let mutual = match verdict {
            Verdict::Mtls => true,
            Verdict::Tls => false,
            _ => return None,
        };
        (!std::mem::replace(&mut self.facts.remembered, true)).then(|| Session {
            mutual,
            time: self.facts.time,
            certificates: self.facts.certificates.clone(),
        })
    }

    // ---- TLS 1.2 and before ----

    fn classic(&mut self, ends: &Ends, context: &mut Context<'_>) -> Option<Call> {
        let kind = self.facts.chosen.as_ref()?.kind();
        let resumed = self.facts.first == Some(FirstItem::ChangeCipherSpec);
        if self.facts.completed.is_none() && self.facts.first.is_some() {
            // In a full handshake the server's ChangeCipherSpec is the last, else the client's.
            if self.lanes[1].changed && (!resumed || self.lanes[0].changed) {
                self.facts.completed = Some(true);
            } else if ends.is_over(Side::Server) {
                self.facts.completed = Some(false);
            }
        }
        let silent = self.facts.first.is_none() && !self.lanes[0].messages.is_poisoned();
        if self.facts.completed.is_none() && ends.is_over(Side::Client) && silent {
            self.facts.completed = Some(false);
            return Some(self.failed(Reason::Text(
                "the client closed the connection in the handshake",
            )));
        }
        if self.facts.completed == Some(false) {
            return Some(self.failed(Reason::Text(match self.facts.first {
                None => "the connection was closed in the handshake",
                Some(_) => CLOSED,
            })));
        }
        if resumed {
            if kind == CipherKind::Null {
                return Some(null_cipher());
            }
            self.find_origin(context);
            let call = self.inherited(
                "resumed; the original handshake was mutual,",
                "resumed; the original handshake was not mutual,",
            );
            self.remember_names(call.verdict, context);
            return Some(call);
        }
        let call = self.by_messages(kind)?;
        self.remember_names(call.verdict, context);
        Some(call)
    }

    fn by_messages(&self, kind: CipherKind) -> Option<Call> {
        let of = |verdict, words| Call::new(verdict, Evidence::Certificates, Reason::Text(words));
        let first = self.facts.first?;
        Some(match (first, kind) {
            (FirstItem::Unreadable | FirstItem::ChangeCipherSpec, _) => return None,
            (_, CipherKind::Null) => null_cipher(),
            (FirstItem::Certificate, _) => {
                of(Verdict::Mtls, "both sides sent certificates in clear")
                    .with(ClientCertificate::Presented)
            }
            (FirstItem::NoCertificate, _) => {
                of(Verdict::Tls, "a certificate was asked for but not given")
                    .with(ClientCertificate::NotPresented)
            }
            (FirstItem::KeyExchange, CipherKind::Psk) => {
                self.unproven("authenticated by a pre-shared key, not by certificates")
            }
            (FirstItem::KeyExchange, CipherKind::Anonymous) => {
                self.unproven("the cipher suite authenticates nobody")
            }
            (FirstItem::KeyExchange, CipherKind::Ordinary) if self.facts.renegotiated => Call::new(
                Verdict::Mtls,
                Evidence::HandshakeShape,
                Reason::Text(RENEGOTIATED),
            )
            .with(ClientCertificate::Presented),
            (FirstItem::KeyExchange, CipherKind::Ordinary) if self.facts.no_certificate => {
                of(Verdict::Tls, "a certificate was asked for but not given")
                    .with(ClientCertificate::NotPresented)
            }
            (FirstItem::KeyExchange, CipherKind::Ordinary) => {
                of(Verdict::Tls, "no certificate was asked for")
                    .with(ClientCertificate::NotRequested)
            }
        })
    }

    /// The session that this one continues: by the ticket or the session id that the client
    /// offered.
    fn find_origin(&mut self, context: &Context<'_>) {
        if self.facts.origin.is_some() {
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
        self.facts.origin = Some(Box::new(origin));
    }

    /// Remembers this session under the names that it can be resumed by.
    fn remember_names(&mut self, verdict: Verdict, context: &mut Context<'_>) {
        if self.facts.completed != Some(true) {
            return;
        }
        // An id that the server only echoed names the session that was resumed.
        let ticket = self.answered.ticket;
        let own = self
            .answered
            .session
            .filter(|id| Some(*id) != self.offered.session);
        let session = match self.facts.origin.as_deref() {
            Some(Origin::Known(session)) => {
                let first = !std::mem::replace(&mut self.facts.remembered, true);
                first.then(|| session.clone())
            }
            _ => self.session(verdict),
        };
        if let Some(session) = session {
            for name in [ticket, own].into_iter().flatten() {
                context.sessions.remember(name, session.clone());
            }
        }
    }

    fn inherited(&self, mutual: &'static str, not: &'static str) -> Call {
        let (session, verdict, words) = match self.facts.origin.as_deref() {
            Some(Origin::Known(session)) if session.mutual => (session, Verdict::Mtls, mutual),
            Some(Origin::Known(session)) => (session, Verdict::Tls, not),
            Some(Origin::Mixed) => {
                return self.unproven(
                    "resumed; these peers have had both mutual and server-only handshakes",
                );
            }
            _ => return self.unproven("resumed; its full handshake was not seen"),
        };
        let age = self.facts.time.saturating_sub(session.time) / 1_000_000_000;
        let call = Call::new(
            verdict,
            Evidence::Resumption,
            Reason::Age(words, age as u32),
        );
        if session.mutual {
            call.with(ClientCertificate::Presented)
        } else {
            call
        }
    }

    /// Over without a decision: why.
    fn undecided(&self, ends: &Ends) -> Call {
        self.unproven(if self.facts.chosen.is_none() && ends.hole() {
            "samples were lost before the ServerHello"
        } else if self.facts.chosen.is_none() {
            "no ServerHello was seen"
        } else if self.facts.first == Some(FirstItem::Unreadable) {
            "the client's first message after its hello was not seen"
        } else if ends.hole() {
            "samples were lost before the client's flight"
        } else {
            "the client's flight was not seen"
        })
    }
}

fn null_cipher() -> Call {
    Call::new(
        Verdict::Plaintext,
        Evidence::FirstBytes,
        Reason::Text("TLS with a cipher suite that encrypts nothing"),
    )
}
