//! What a TLS connection has shown, small enough to be kept for the flow's lifetime.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::classify::hello::Hello;
use crate::classify::sessions::Origin;
use crate::classify::{Context, Side};
use crate::wire::cursor::u16s;
use crate::wire::tls::hello;
use crate::wire::tls::names::{self, CipherKind};
use crate::wire::tls::{Certificate, ClientHello, ServerHello};

/// Kinds of session names.
pub(super) const TICKET: u8 = 0;
pub(super) const SESSION_ID: u8 = 1;

/// Data from the ClientHello that is needed until the handshake is complete.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// A pre-shared key: the length of the first identity.
    pub(super) psk: Option<u16>,
    /// A suite with shorter records.
    pub(super) short_tag: bool,
    /// A TLS 1.3 suite without encryption.
    pub(super) null: bool,
    /// The name of the session ticket.
    pub(super) ticket: Option<u64>,
    /// The name of the session id.
    pub(super) session: Option<u64>,
}

impl Offered {
    pub(super) fn new(hello: &ClientHello<'_>, context: &Context<'_>) -> Self {
        let name = |kind, id: &[u8]| (!id.is_empty()).then(|| context.name(kind, id));
        Self {
            psk: hello.psk.map(|psk| psk.identity_len),
            short_tag: u16s(hello.ciphers).any(names::has_short_tag),
            null: u16s(hello.ciphers).any(names::is_integrity_only),
            ticket: name(TICKET, hello.ticket.unwrap_or_default()),
            session: name(SESSION_ID, hello.session_id),
        }
    }
}

/// Data from the server's response that is needed until the handshake is complete.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The name of the session id, the server's own or an echo of the client's.
    pub(super) session: Option<u64>,
    /// The name of the ticket that it issued unencrypted.
    pub(super) ticket: Option<u64>,
    /// Where the ServerHello's record ends.
    pub(super) end: u64,
}

/// The choices in the ServerHello.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) version: u16,
    pub(super) cipher: u16,
    pub(super) group: Option<u16>,
    /// Index of the accepted pre-shared key, counted from zero.
    pub(super) psk: Option<u16>,
    /// What the cipher suite implies about authentication.
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

/// The client's first message after its ClientHello, in TLS 1.2 and earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FirstItem {
    /// A resumption, if the version is at most 1.2.
    ChangeCipherSpec,
    /// A non-empty list of certificates.
    Certificate,
    /// An empty list.
    NoCertificate,
    /// No certificate was requested.
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

/// An unencrypted alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alert {
    pub(super) side: Side,
    pub(super) level: u8,
    pub(super) code: u8,
}

impl Alert {
    /// Whether it ends the handshake by itself. Level 1 is a warning, except in TLS 1.3, where
    /// levels have no meaning; then what follows decides.
    pub(super) fn is_fatal(self) -> bool {
        self.level == 2
    }
}

/// Whether the client sent its certificate in a renegotiation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) enum Late {
    #[default]
    No,
    /// A key exchange would be equally long.
    Unclear,
    Yes,
}

/// What a TLS connection has shown.
#[derive(Debug, Default)]
pub(in crate::classify) struct Facts {
    /// The latest ClientHello.
    pub(in crate::classify) hello: Option<Arc<Hello>>,
    /// What only some connections show.
    pub(super) rest: Option<Box<Rest>>,
    /// When the connection's first piece arrived, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    pub(super) chosen: Option<Chosen>,
    pub(super) alert: Option<Alert>,
    /// The server's port.
    pub(super) port: u16,
    pub(super) hellos: u8,
    /// What looked like a ClientHello is not one.
    pub(super) malformed: bool,
    pub(super) retried: bool,
    pub(super) first: Option<FirstItem>,
    pub(super) requested: bool,
    /// SSL 3.0's alert for a missing certificate.
    pub(super) no_certificate: bool,
    pub(super) completed: Option<bool>,
    /// A second handshake took place under encryption (≤ 1.2).
    pub(super) renegotiated: bool,
    /// Whether the client sent its certificate in it.
    pub(super) late: Late,
    /// The session was added to the table.
    pub(super) remembered: bool,
}

/// What only some connections show: unencrypted data before TLS 1.3, and which session a resumption
/// continues.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The client's, then the server's.
    pub(super) certificates: [Option<Arc<Certificate>>; 2],
    /// The protocol that the server chose.
    pub(super) alpn: Option<SmolStr>,
    /// Which session a resumption continues, once that was determined.
    pub(super) origin: Option<Origin>,
}

impl Facts {
    /// The optional part, to be modified.
    pub(super) fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// The client's and the server's certificate, if they were unencrypted.
    pub(super) fn certificates(&self) -> [Option<Arc<Certificate>>; 2] {
        self.rest
            .as_ref()
            .map(|rest| rest.certificates.clone())
            .unwrap_or_default()
    }

    /// Which session a resumption continues, once that was determined.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.rest.as_ref()?.origin.as_ref()
    }

    /// It was not seen whether the server accepted or rejected what the client sent.
    pub(in crate::classify) fn is_unconfirmed(&self) -> bool {
        self.completed.is_none()
    }

    /// Records the client's first message, unless there is one already.
    pub(super) fn first(&mut self, item: FirstItem) {
        if self.hellos > 0 && (self.first.is_none() || self.first == Some(FirstItem::Unreadable)) {
            self.first = Some(item);
        }
    }

    /// Records an alert: a fatal one takes precedence over a warning; the first of its kind counts.
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
