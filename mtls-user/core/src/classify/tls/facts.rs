//! What a TLS connection showed, small enough to be kept for as long as the flow lives.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::classify::Side;
use crate::classify::hello::Hello;
use crate::classify::sessions::{Origin, Sessions};
use crate::wire::cursor::u16s;
use crate::wire::tls::hello;
use crate::wire::tls::names::{self, CipherKind};
use crate::wire::tls::{Certificate, ClientHello, ServerHello};

/// Kinds of names that sessions are remembered under.
pub(super) const TICKET: u8 = 0;
pub(super) const SESSION_ID: u8 = 1;

/// What of the hellos is needed until the handshake is over.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// A pre-shared key: the length of the first identity.
    pub(super) psk: Option<u16>,
    /// A suite whose records are shorter.
    pub(super) short_tag: bool,
    /// A suite of TLS 1.3 that encrypts nothing.
    pub(super) null: bool,
    /// The name of the session ticket.
    pub(super) ticket: Option<u64>,
    /// The name of the session id.
    pub(super) session: Option<u64>,
}

impl Offered {
    pub(super) fn new(hello: &ClientHello<'_>, sessions: &Sessions) -> Self {
        let name = |kind, id: &[u8]| (!id.is_empty()).then(|| sessions.name(kind, id));
        Self {
            psk: hello.psk.map(|psk| psk.identity_len),
            short_tag: u16s(hello.ciphers).any(names::has_short_tag),
            null: u16s(hello.ciphers).any(names::is_integrity_only),
            ticket: name(TICKET, hello.ticket.unwrap_or_default()),
            session: name(SESSION_ID, hello.session_id),
        }
    }
}

/// What of the server's answer is needed until the handshake is over.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The name of the session id, the server's own or the echo of the client's.
    pub(super) session: Option<u64>,
    /// The name of the ticket that it gave in clear.
    pub(super) ticket: Option<u64>,
    /// Where the ServerHello's record ends.
    pub(super) end: u64,
}

/// What the ServerHello chose.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) version: u16,
    pub(super) cipher: u16,
    pub(super) group: Option<u16>,
    /// Which of the pre-shared keys offered, counted from zero.
    pub(super) psk: Option<u16>,
    /// What the cipher suite means for who is authenticated.
    pub(super) kind: CipherKind,
}

impl Chosen {
    pub(super) fn new(hello: &ServerHello<'_>) -> Self {
        Self {
            version: hello.version,
            cipher: hello.cipher,
            group: hello.group,
            psk: hello.psk.filter(|_| hello.is_13()),
            kind: names::cipher_kind(hello.cipher),
        }
    }

    pub(super) fn is_13(&self) -> bool {
        hello::is_13(self.version)
    }
}

/// The client's first item after its ClientHello, as TLS 1.2 and before have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FirstItem {
    /// A resumption, if the version is at most 1.2.
    ChangeCipherSpec,
    /// A list of certificates with something in it.
    Certificate,
    /// An empty list.
    NoCertificate,
    /// No certificate was asked for.
    KeyExchange,
    /// A handshake record whose body was not seen.
    Unreadable,
}

impl FirstItem {
    /// A Certificate message, by the length of its list.
    pub(super) fn certificate(len: [u8; 3]) -> Self {
        if len == [0; 3] {
            Self::NoCertificate
        } else {
            Self::Certificate
        }
    }
}

/// An alert in clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alert {
    pub(super) side: Side,
    pub(super) level: u8,
    pub(super) code: u8,
}

impl Alert {
    /// It ends the handshake by itself. Level 1 is a warning, except that TLS 1.3 gives levels no
    /// meaning; what then follows tells.
    pub(super) fn is_fatal(self) -> bool {
        self.level == 2
    }
}

/// Whether the client sent its certificate in a renegotiation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) enum Late {
    #[default]
    No,
    /// A key exchange would be as long.
    Unclear,
    Yes,
}

/// What a TLS connection showed.
#[derive(Debug, Default)]
pub(in crate::classify) struct Facts {
    /// The last ClientHello.
    pub(in crate::classify) hello: Option<Arc<Hello>>,
    /// What only some connections show.
    pub(super) rest: Option<Box<Rest>>,
    /// When the connection's first piece came, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    pub(super) chosen: Option<Chosen>,
    pub(super) alert: Option<Alert>,
    /// The server's port.
    pub(super) port: u16,
    pub(super) hellos: u8,
    /// What claimed to be a ClientHello is none.
    pub(super) malformed: bool,
    pub(super) retried: bool,
    pub(super) first: Option<FirstItem>,
    pub(super) requested: bool,
    /// SSL 3.0's way to say that there is no certificate.
    pub(super) no_certificate: bool,
    pub(super) completed: Option<bool>,
    /// A second handshake took place under encryption (≤ 1.2).
    pub(super) renegotiated: bool,
    /// Whether the client sent its certificate in it.
    pub(super) late: Late,
    /// The session was added to the table.
    pub(super) remembered: bool,
}

/// What only some connections show: what is in clear before TLS 1.3, and what a resumption
/// continues.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The client's, then the server's.
    pub(super) certificates: [Option<Arc<Certificate>>; 2],
    /// The protocol that the server chose.
    pub(super) alpn: Option<SmolStr>,
    /// What a resumption continues, once that was looked up.
    pub(super) origin: Option<Origin>,
}

impl Facts {
    /// The rest, to be added to.
    pub(super) fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// The client's and the server's certificate, where they were in clear.
    pub(super) fn certificates(&self) -> [Option<Arc<Certificate>>; 2] {
        self.rest
            .as_ref()
            .map(|rest| rest.certificates.clone())
            .unwrap_or_default()
    }

    /// What a resumption continues, once that was looked up.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.rest.as_ref()?.origin.as_ref()
    }

    /// Whether the server accepted or refused what the client sent was not seen.
    pub(in crate::classify) fn is_unconfirmed(&self) -> bool {
        self.completed.is_none()
    }

    /// Notes the client's first item, unless there was one before it.
    pub(super) fn first(&mut self, item: FirstItem) {
        if self.hellos > 0 && (self.first.is_none() || self.first == Some(FirstItem::Unreadable)) {
            self.first = Some(item);
        }
    }

    /// Notes an alert: a fatal one before a warning, the first of its kind.
    pub(super) fn alert(&mut self, alert: Alert) {
        if alert.side == Side::Client && alert.level == 1 && alert.code == 41 {
            self.no_certificate = true;
        } else if self
            .alert
            .is_none_or(|old| !old.is_fatal() && alert.is_fatal())
        {
            self.alert = Some(alert);
        }
    }
}
