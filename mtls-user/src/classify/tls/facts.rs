//! What a TLS connection showed, small enough to be kept for as long as the flow lives.

use std::sync::Arc;

use crate::classify::Side;
use crate::classify::sessions::{Origin, Sessions};
use crate::wire::text;
use crate::wire::tls::hello;
use crate::wire::tls::names::{self, CipherKind};
use crate::wire::tls::{Certificate, ClientHello, Ja4, ServerHello};

/// Kinds of names that sessions are remembered under.
pub(super) const TICKET: u8 = 0;
pub(super) const SESSION_ID: u8 = 1;

/// `TLS_AES_128_CCM_8_SHA256`.
const CCM_8: u16 = 0x1305;

/// The last ClientHello, as far as it is worth keeping.
#[derive(Debug)]
pub(in crate::classify) struct Hello {
    pub(in crate::classify) server_name: Option<Box<str>>,
    /// The ALPN list as it was sent, cut at [`text::MAX`] bytes.
    pub(in crate::classify) alpn: Box<[u8]>,
    pub(super) ja4: Option<Ja4>,
    pub(super) version: u16,
    pub(super) external_psk: bool,
    pub(super) early_data: bool,
    pub(super) post_handshake_auth: bool,
    pub(super) ech: bool,
    pub(super) framed_as_v2: bool,
}

impl Hello {
    pub(super) fn new(hello: &ClientHello<'_>) -> Self {
        let alpn = hello.alpn.unwrap_or_default();
        Self {
            server_name: hello.server_name.map(|name| text::clean(name).into()),
            alpn: alpn[..alpn.len().min(text::MAX)].into(),
            ja4: Some(Ja4::of(hello)),
            version: hello.highest_version(),
            // Tickets are long and have an age.
            external_psk: hello
                .psk
                .is_some_and(|psk| psk.identity_len < 64 && psk.age == 0),
            early_data: hello.early_data,
            post_handshake_auth: hello.post_handshake_auth,
            ech: hello.ech,
            framed_as_v2: false,
        }
    }

    pub(super) fn framed_as_v2(version: u16) -> Self {
        Self {
            server_name: None,
            alpn: Box::default(),
            ja4: None,
            version,
            external_psk: false,
            early_data: false,
            post_handshake_auth: false,
            ech: false,
            framed_as_v2: true,
        }
    }
}

/// What of the hellos is needed until the handshake is over.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// A pre-shared key.
    pub(super) psk: bool,
    /// `TLS_AES_128_CCM_8_SHA256`, whose records are shorter.
    pub(super) short_tag: bool,
    /// The name of the session ticket.
    pub(super) ticket: Option<u64>,
    /// The name of the session id.
    pub(super) session: Option<u64>,
}

impl Offered {
    pub(super) fn new(hello: &ClientHello<'_>, sessions: &Sessions) -> Self {
        let name = |kind, id: &[u8]| (!id.is_empty()).then(|| sessions.name(kind, id));
        Self {
            psk: hello.psk.is_some(),
            short_tag: hello.offers(CCM_8),
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
    pub(super) psk: bool,
    /// What the cipher suite means for who is authenticated.
    pub(super) kind: CipherKind,
    pub(super) alpn: Option<Box<str>>,
}

impl Chosen {
    pub(super) fn new(hello: &ServerHello<'_>) -> Self {
        Self {
            version: hello.version,
            cipher: hello.cipher,
            group: hello.group,
            psk: hello.psk.is_some() && hello.is_13(),
            kind: names::cipher_kind(hello.cipher),
            alpn: hello.alpn.map(|name| text::clean(name).into()),
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

/// What a TLS connection showed.
#[derive(Debug, Default)]
pub(in crate::classify) struct Facts {
    pub(in crate::classify) hello: Option<Hello>,
    pub(super) hellos: u8,
    pub(super) retried: bool,
    pub(super) chosen: Option<Chosen>,
    pub(super) first: Option<FirstItem>,
    pub(super) requested: bool,
    /// The client's, then the server's.
    pub(super) certificates: [Option<Arc<Certificate>>; 2],
    pub(super) alert: Option<Alert>,
    /// SSL 3.0's way to say that there is no certificate.
    pub(super) no_certificate: bool,
    pub(super) completed: Option<bool>,
    /// A second handshake took place under encryption (≤ 1.2).
    pub(super) renegotiated: bool,
    /// The client sent as much in it as only a certificate takes.
    pub(super) authenticated_late: bool,
    /// What a resumption continues, once that was looked up.
    pub(super) origin: Option<Box<Origin>>,
    /// The session was added to the table.
    pub(super) remembered: bool,
    /// The server's port.
    pub(super) port: u16,
    /// When the connection's first piece came, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
}

impl Facts {
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
