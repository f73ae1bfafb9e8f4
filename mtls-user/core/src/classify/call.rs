//! A decision: verdict, evidence and reason, in a form that is cheap to create.

use std::fmt::Write;

use smol_str::SmolStr;

use crate::record::{Cause, ClientCertificate, Evidence, Verdict};

/// The reason, whose text is only built on request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// A fixed text, with its cause.
    Said(Cause, &'static str),
    /// The client had left before it could be rejected. Reasons like this one are the only
    /// revisions to "unproven".
    Left,
    /// Nothing that the server sent after the client's flight was seen: also such a revision.
    Unanswered(&'static str),
    /// QUIC packets arrive in any order.
    Late,
    /// The client authenticated in a second handshake: the only revision to a better verdict.
    Renegotiated,
    /// A renegotiation's flight that may be a certificate or a key exchange.
    RenegotiatedUnclear,
    /// Another session began in cleartext after the first: what the first one proved does not apply
    /// to it.
    Again,
    /// What the client sent, and the length of the record that shows it.
    Flight(&'static str, u16),
    /// The server requested no certificate.
    NotRequested,
    /// The server requested a certificate, and the client has none.
    NotPresented,
    /// The length of the client's first encrypted record, which padding may explain.
    Padded(u16),
    /// The length of the client's first encrypted record, and why it proves nothing.
    Record(u16, &'static str),
    /// The length of a Handshake packet of the client (QUIC), and the conclusion.
    Packet(u16, &'static str),
    /// Who sent an unencrypted alert, and which.
    Alert(&'static str, u8),
    /// Text before the name of a protocol.
    Named(Words, &'static str),
    /// Text and a number of seconds.
    Age(&'static str, u32),
}

/// What is known about a protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// It is not encrypted.
    Plain,
    /// A password was sent in it, on the way to something else.
    Secret,
    /// The client asked for TLS in it, and continued without it.
    Refused,
    /// The client asked for TLS in it; what followed was not seen.
    Unanswered,
    /// It may still upgrade to TLS.
    Undecided,
    /// It uses its own encryption.
    Encrypted,
    /// A ClientHello was answered in it.
    Answered,
    /// It follows records of TLS.
    Contradicted,
}

impl Words {
    fn write(self, name: &str, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain => write!(f, "unencrypted {name}"),
            Self::Secret => write!(
                f,
                "password sent in clear ({name}), whatever was encrypted after it"
            ),
            Self::Refused => write!(f, "client asked for TLS; server declined ({name})"),
            Self::Unanswered => {
                write!(f, "client asked for TLS; the outcome was not seen ({name})")
            }
            Self::Undecided => write!(f, "{name}, of which too little was seen to tell"),
            Self::Encrypted => write!(f, "encrypted by {name} itself, not by TLS"),
            Self::Answered => write!(
                f,
                "the server answered the ClientHello with unencrypted {name}"
            ),
            Self::Contradicted => write!(f, "unencrypted {name} after TLS records"),
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(_, text) => f.write_str(text),
            Self::Left => f.write_str(
                "client closed before the server answered its flight; it may have been rejected",
            ),
            Self::Unanswered(what) => {
                write!(f, "{what}; it is unknown whether the server accepted it")
            }
            Self::Late => f.write_str(
                "a Handshake packet of the client arrived after the verdict, and is too long for a Finished message",
            ),
            Self::Renegotiated => f.write_str(
                "client sent a certificate in a renegotiation; what came before was not mutual",
            ),
            Self::RenegotiatedUnclear => f.write_str(
                "renegotiated; the client's flight may hold a certificate, or a key exchange that is as long",
            ),
            Self::Again => f.write_str(
                "a second TLS session followed in cleartext; the first one proves nothing about it",
            ),
            // The most frequent one: built piece by piece, without formatting machinery.
            Self::Flight(what, len) => {
                f.write_str("client sent ")?;
                f.write_str(what)?;
                f.write_str(" (inferred from ")?;
                f.write_str(article(*len))?;
                len.fmt(f)?;
                f.write_str("-byte encrypted record)")
            }
            Self::NotRequested => f.write_str("server did not request a client certificate"),
            Self::NotPresented => {
                f.write_str("server requested a client certificate; client sent none")
            }
            Self::Padded(len) => write!(
                f,
                "the client's {len}-byte encrypted record may be a certificate, or a shorter message with padding"
            ),
            Self::Record(len, text) => write!(
                f,
                "{text} (inferred from {}{len}-byte encrypted record)",
                article(*len)
            ),
            Self::Packet(len, text) => write!(
                f,
                "{text} (inferred from {}{len}-byte Handshake packet)",
                article(*len)
            ),
            Self::Alert(who, code) => write!(
                f,
                "{who} ended the handshake with the alert {}",
                crate::wire::tls::names::alert(*code)
            ),
            Self::Named(words, name) => words.write(name, f),
            Self::Age(text, seconds) => write!(f, "{text}, {seconds} s before"),
        }
    }
}

/// The article that a number takes ("a" or "an").
fn article(n: u16) -> &'static str {
    match n {
        8 | 11 | 18 | 80..=89 | 800..=899 | 8000..=8999 | 11_000..=11_999 | 18_000..=18_999 => {
            "an "
        }
        _ => "a ",
    }
}

impl From<(Cause, &'static str)> for Reason {
    fn from((cause, text): (Cause, &'static str)) -> Self {
        Self::Said(cause, text)
    }
}

impl Reason {
    /// The cause, for programs.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Named(Words::Undecided, _) => Cause::TooLittle,
            Self::Named(Words::Plain, _) => Cause::Unencrypted,
            Self::Named(Words::Unanswered, _) => Cause::UpgradeUnanswered,
            Self::Named(Words::Secret, _) => Cause::SecretInClear,
            Self::Named(Words::Refused, _) => Cause::UpgradeDeclined,
            Self::Named(Words::Encrypted, _) => Cause::OwnEncryption,
            Self::Named(Words::Answered, _) => Cause::HelloAnsweredInClear,
            Self::Named(Words::Contradicted, _) => Cause::Contradicted,
            Self::Flight(..) | Self::Record(..) | Self::Packet(..) => Cause::FlightLength,
            Self::NotRequested => Cause::NotRequested,
            Self::NotPresented => Cause::NotPresented,
            Self::Padded(_) => Cause::PaddingNotExcluded,
            Self::Said(cause, _) => *cause,
            Self::Left | Self::Unanswered(_) => Cause::ClientLeft,
            Self::Late => Cause::LatePacket,
            Self::Renegotiated | Self::RenegotiatedUnclear | Self::Again => Cause::Renegotiated,
            Self::Alert(..) => Cause::Alert,
            Self::Age(..) => Cause::Resumed,
        }
    }

    /// The text.
    pub(super) fn text(&self) -> SmolStr {
        match self {
            Self::Said(_, text) => SmolStr::new_static(text),
            other => {
                // Enough for most texts, so that the string does not have to grow.
                let mut text = String::with_capacity(128);
                // Writing to a string cannot fail.
                let _ = write!(text, "{other}");
                text.into()
            }
        }
    }
}

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Call {
    pub(super) verdict: Verdict,
    pub(super) evidence: Option<Evidence>,
    pub(super) reason: Reason,
    pub(super) certificate: ClientCertificate,
}

impl Call {
    pub(super) fn new(verdict: Verdict, evidence: Evidence, reason: Reason) -> Self {
        Self {
            verdict,
            evidence: Some(evidence),
            reason,
            certificate: ClientCertificate::Unknown,
        }
    }

    /// Nothing is claimed.
    pub(super) fn unobserved(reason: Reason) -> Self {
        Self::without_evidence(Verdict::Unobserved, reason)
    }

    /// Nothing is claimed, or nothing was there.
    pub(super) fn without_evidence(verdict: Verdict, reason: Reason) -> Self {
        Self {
            verdict,
            evidence: None,
            reason,
            certificate: ClientCertificate::Unknown,
        }
    }

    #[must_use]
    pub(super) fn with(self, certificate: ClientCertificate) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// Whether a flow that was called `self` may become `new`: only a contradiction revises a
    /// decision, and only to something that claims less. The one exception, a renegotiation with
    /// the client's certificate, is an event on the wire of its own.
    pub(super) fn may_become(&self, new: &Self) -> bool {
        use Verdict::{Failed, Mtls, Opaque, Plaintext, Tls, TlsUnproven};
        match (self.verdict, new.verdict) {
            (old, new) if old == new => false,
            (Mtls | Tls | TlsUnproven, Failed | Plaintext | Opaque)
            | (Failed, Plaintext | Opaque) => true,
            (Tls | TlsUnproven, Mtls) => new.reason == Reason::Renegotiated,
            (Mtls | Tls, TlsUnproven) => {
                matches!(
                    new.reason,
                    Reason::Left | Reason::Unanswered(_) | Reason::Late | Reason::Again
                ) || self.verdict == Tls && new.reason == Reason::RenegotiatedUnclear
            }
            _ => false,
        }
    }
}

/// Bytes that are not TLS records were found where a record had to begin, or a record's body is
/// readable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    /// Whether they are text, or belong to a known protocol.
    pub(super) readable: bool,
    /// The protocol, if it is known.
    pub(super) protocol: Option<&'static str>,
}

/// The decision for a flow in which another session began in cleartext.
pub(super) fn again() -> Call {
    Call::new(Verdict::TlsUnproven, Evidence::RecordFraming, Reason::Again)
}

impl Broken {
    /// The decision for a flow that was TLS and then was not.
    pub(super) fn call(self) -> Call {
        let (verdict, reason) = match self.protocol {
            Some(name) => (Verdict::Plaintext, Reason::Named(Words::Contradicted, name)),
            None if self.readable => (
                Verdict::Plaintext,
                Reason::Said(
                    Cause::Contradicted,
                    "what follows the TLS records is readable text",
                ),
            ),
            None => (
                Verdict::Opaque,
                Reason::Said(
                    Cause::Contradicted,
                    "what follows the TLS records is not TLS",
                ),
            ),
        };
        Call::new(verdict, Evidence::RecordFraming, reason)
    }
}
