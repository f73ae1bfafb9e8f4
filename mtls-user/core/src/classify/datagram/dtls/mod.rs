//! DTLS between two addresses.
//!
//! Up to 1.2 the messages are unencrypted and numbered, so what the client sent is known even if
//! datagrams are missing; in 1.3, lengths decide ([`shape`]).

mod judge;
mod messages;
mod shape;

use crate::classify::call::{Broken, Call};
use crate::classify::datagram::handshake::Handshake;
use crate::classify::datagram::{Gram, Part};
use crate::classify::{Context, Side};
use crate::record::Verdict;
use crate::wire::cursor::Cursor;
use crate::wire::dtls::{Fragment, Record, content, fragments, records};
use crate::wire::text;
use crate::wire::tls::hello::extension;
use crate::wire::tls::{Carrier, ClientHello, ServerHello};
use messages::Messages;
use shape::Records;

/// Bytes of a record's body that are needed to recognise text.
const LOOK: usize = 32;
/// An encrypted alert of DTLS 1.3.
const ALERT_13: u16 = 19;
/// Number of datagrams that are not DTLS, STUN or media, after which the flow is not only DTLS.
const FOREIGN: u8 = 2;

mod kind {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const HELLO_VERIFY_REQUEST: u8 = 3;
    pub(super) const NEW_SESSION_TICKET: u8 = 4;
    pub(super) const CERTIFICATE: u8 = 11;
    pub(super) const SERVER_KEY_EXCHANGE: u8 = 12;
    pub(super) const CERTIFICATE_REQUEST: u8 = 13;
    pub(super) const SERVER_HELLO_DONE: u8 = 14;
    pub(super) const CLIENT_KEY_EXCHANGE: u8 = 16;
}

/// Prefix of session names: sessions of TLS over TCP are separate.
const TICKET: u8 = 2;
const SESSION_ID: u8 = 3;

/// One flow of DTLS.
#[derive(Debug, Default)]
pub(super) struct Dtls {
    handshake: Handshake,
    messages: [Messages; 2],
    /// The number of the client's latest ClientHello.
    hello: u16,
    hellos: u8,
    cookie: bool,
    /// The client's Certificate: whether its list is non-empty.
    certificate: Option<bool>,
    /// The number of the client's ClientKeyExchange.
    key_exchange: Option<u16>,
    /// The server has sent messages that occur only in a full handshake.
    full: bool,
    requested: bool,
    /// Both sides have sent ChangeCipherSpec, or encrypted records.
    changed: [bool; 2],
    /// The server has sent encrypted handshake messages or data after the client's flight.
    accepted: bool,
    /// The length of the server's first encrypted record (≤ 1.2).
    finished: Option<u16>,
    /// An alert: its side, and whether it is unencrypted.
    alert: Option<(Side, Option<u8>)>,
    server_seen: bool,
    client_records: Records,
    /// The lengths of the connection IDs that the client and the server have chosen.
    ids: [Option<usize>; 2],
    srtp: bool,
    srtp_agreed: bool,
    foreign: u8,
    /// The names under which it can be resumed, and those that it resumes.
    names: Vec<u64>,
    resumes: Vec<u64>,
    broken: Option<Broken>,
    call: Option<Call>,
}

/// Whether a datagram begins with a ClientHello, or the start of one.
pub(super) fn begins(gram: &Gram<'_>) -> bool {
    let Some(Some(Record::Full {
        content: content::HANDSHAKE,
        epoch: 0,
        body,
        ..
    })) = records(gram.bytes, gram.len, 0).next()
    else {
        return false;
    };
    // The first fragment begins with a version; for others, the record has it.
    matches!(fragments(body).next(), Some(Fragment { kind: kind::CLIENT_HELLO, offset, data, .. })
        if offset > 0 || matches!(data, [0xfe, 0xff | 0xfd, ..]))
}

/// Whether every record of a datagram, to its last byte, belongs to an encrypted epoch.
pub(super) fn is_midstream(gram: &Gram<'_>) -> bool {
    gram.bytes.len() == gram.len
        && records(gram.bytes, gram.len, 0).all(|record| {
            matches!(
                record,
                Some(Record::Full {
                    content: 20..=23,
                    epoch: 1..,
                    len: 17..,
                    ..
                })
            )
        })
}

/// Whether the list in a Certificate message that starts like this is non-empty; `None` if its
/// lengths contradict each other.
fn has_certificate(fragment: &Fragment<'_>) -> Option<bool> {
    let mut c = Cursor::new(fragment.data);
    let list = c.u24()?;
    if list + 3 != fragment.len {
        return None;
    }
    if list == 0 {
        return Some(false);
    }
    // A certificate, or a raw public key, is a SEQUENCE of DER.
    let first = c.u24()?;
    (first + 3 <= list && c.u8()? == 0x30).then_some(true)
}

impl Dtls {
    /// Memory that is held until there is a verdict, in bytes.
    pub(super) fn held(&self) -> usize {
        let messages = self.messages.iter();
        let itself = self.call.as_ref().map_or(size_of::<Self>(), |_| 0);
        itself + messages.map(Messages::held).sum::<usize>()
    }

    /// A flow that begins with a ClientHello.
    pub(super) fn new(time: u64) -> Self {
        Self {
            handshake: Handshake {
                time,
                ..Handshake::default()
            },
            ..Self::default()
        }
    }

    /// Processes a datagram; true if the verdict has changed.
    pub(super) fn take(&mut self, side: Side, gram: &Gram<'_>, context: &mut Context<'_>) -> bool {
        // Packets of a side carry the ID that the other side has chosen.
        let id = self.ids[side.other().index()].unwrap_or(0);
        for (at, record) in records(gram.bytes, gram.len, id).enumerate() {
            match record {
                Some(record) => self.record(side, record, context),
                None if at == 0 => self.other(gram),
                None => {}
            }
        }
        self.evaluate(None, context)
    }

    /// A datagram that is not DTLS: STUN and media share the addresses (RFC 7983).
    fn other(&mut self, gram: &Gram<'_>) {
        let first = gram.bytes.first().copied().unwrap_or_default();
        let expected = match first {
            0..=3 => gram.bytes.get(4..8) == Some(&[0x21, 0x12, 0xa4, 0x42]),
            64..=79 => true,
            128..=191 => self.srtp,
            _ => false,
        };
        let readable = gram.bytes.get(..LOOK).is_some_and(text::is_text);
        if !expected {
            self.foreign = self.foreign.saturating_add(1);
        }
        if readable || self.foreign >= FOREIGN {
            self.broken.get_or_insert(Broken {
                readable,
                protocol: None,
            });
        }
    }

    fn record(&mut self, side: Side, record: Record<'_>, context: &mut Context<'_>) {
        self.server_seen |= side == Side::Server;
        match record {
            Record::Full {
                content: content::HANDSHAKE,
                epoch: 0,
                body,
                ..
            } => {
                for fragment in fragments(body) {
                    self.fragment(side, fragment, context);
                }
            }
            Record::Full {
                content: content::ALERT,
                epoch: 0,
                body: &[level, code],
                ..
            } if level == 2 || self.alert.is_none() && code != 0 => {
                self.alert = Some((side, Some(code)));
            }
            Record::Full {
                content: content::CHANGE_CIPHER_SPEC,
                ..
            } => self.changed[side.index()] = true,
            Record::Full {
                content,
                epoch: 1..,
                len,
                body,
                ..
            } => {
                self.changed[side.index()] = true;
                if body.get(..LOOK).is_some_and(text::is_text) {
                    self.broken.get_or_insert(Broken {
                        readable: true,
                        protocol: None,
                    });
                }
                match (side, content) {
                    // After its Finished, a client closes what may have been accepted.
                    (Side::Client, content::ALERT) if self.is_resumed() => {}
                    (_, content::ALERT) => {
                        if self.alert.is_none() && !self.accepted {
                            self.alert = Some((side, None));
                        }
                    }
                    (Side::Server, _) => self.accepted |= self.accepts(content, len),
                    (Side::Client, _) => {}
                }
            }
            Record::Full { .. } => {}
            Record::Unified { epoch, len } => self.encrypted(side, epoch, len),
        }
    }

    /// An encrypted record of DTLS 1.3.
    fn encrypted(&mut self, side: Side, epoch: u8, len: u16) {
        match (side, epoch) {
            (Side::Client, 2) => {
                self.client_records.add(len);
                if len == ALERT_13 && !self.accepted && self.alert.is_none() {
                    self.alert = Some((side, None));
                }
            }
            (Side::Client, _) => {
                self.changed[0] = true;
                self.client_records.compare(len);
            }
            (Side::Server, 2) => {
                self.client_records.servers = self.client_records.servers.saturating_add(1);
                if len == ALERT_13 && !self.accepted {
                    self.alert = Some((side, None));
                }
            }
            (Side::Server, 3) if len != ALERT_13 => {
                self.changed[1] = true;
                self.accepted |= self.client_records.has_begun();
            }
            (Side::Server, 3) if !self.accepted => self.alert = Some((side, None)),
            (Side::Server, _) => {}
        }
    }

    /// Whether an encrypted record of the server follows only what it has accepted (≤ 1.2). In a full
    /// handshake, its Finished comes last. In a resumption, the client's does, and the server may send
    /// its own again: only data shows that it has accepted a ticket, which is in clear, so that anybody
    /// may send it.
    fn accepts(&mut self, content: u8, len: u16) -> bool {
        if self.key_exchange.is_some() || self.certificate.is_some() {
            return true;
        }
        let finished = *self.finished.get_or_insert(len);
        let is_data = match content {
            content::APPLICATION_DATA => true,
            content::CID => len != finished,
            _ => false,
        };
        self.changed[0] && is_data
    }

    /// Neither side has sent a message of a full handshake, and both have switched to encryption (≤
    /// 1.2).
    fn is_resumed(&self) -> bool {
        !self.full
            && self.key_exchange.is_none()
            && self.certificate.is_none()
            && self.changed == [true; 2]
    }

    fn fragment(&mut self, side: Side, fragment: Fragment<'_>, context: &mut Context<'_>) {
        // The start of a list is available before the message is complete.
        if side == Side::Client && fragment.kind == kind::CERTIFICATE && fragment.offset == 0 {
            self.certificate = self.certificate.or(has_certificate(&fragment));
        }
        let mut messages = std::mem::take(&mut self.messages[side.index()]);
        messages.add(fragment, |kind, number, body| {
            self.message(side, kind, number, body, context);
        });
        self.messages[side.index()] = messages;
    }

    fn message(
        &mut self,
        side: Side,
        kind: u8,
        number: u16,
        body: &[u8],
        context: &mut Context<'_>,
    ) {
        match (side, kind) {
            (Side::Client, kind::CLIENT_HELLO) => {
                if let Some(hello) = ClientHello::parse_dtls(body) {
                    self.offered(&hello, number, context);
                }
            }
            (Side::Client, kind::CLIENT_KEY_EXCHANGE) => self.key_exchange = Some(number),
            (Side::Server, kind::HELLO_VERIFY_REQUEST) => self.cookie = true,
            (Side::Server, kind::SERVER_HELLO) => match ServerHello::parse_dtls(body) {
                Some(hello) if !hello.retry => self.chose(&hello, context),
                _ => {}
            },
            (Side::Server, kind::CERTIFICATE_REQUEST) => {
                self.requested = true;
                self.full = true;
            }
            (Side::Server, kind::SERVER_KEY_EXCHANGE | kind::SERVER_HELLO_DONE) => {
                self.full = true;
            }
            (Side::Server, kind::NEW_SESSION_TICKET) => {
                let mut c = Cursor::new(body);
                if let Some(ticket) = c.u32().and_then(|_lifetime| c.vec16())
                    && !ticket.is_empty()
                {
                    self.names.push(context.name(TICKET, ticket));
                }
            }
            (_, kind::CERTIFICATE) => {
                self.full |= side == Side::Server;
                let mut c = Cursor::new(body);
                if let Some(list) = c.vec24() {
                    let first = Cursor::new(list).vec24();
                    self.handshake.certificates[side.index()] =
                        first.and_then(|der| context.sessions.certificate(der));
                }
            }
            _ => {}
        }
    }

    fn offered(&mut self, hello: &ClientHello<'_>, number: u16, context: &mut Context<'_>) {
        if self.hellos > 0 && number < self.hello {
            return;
        }
        self.hello = number;
        self.hellos = self.hellos.saturating_add(1);
        self.handshake.offered(hello, Carrier::Dtls, context);
        self.resumes.clear();
        for (kind, id) in [
            (TICKET, hello.ticket.unwrap_or_default()),
            (SESSION_ID, hello.session_id),
        ] {
            if !id.is_empty() {
                self.resumes.push(context.name(kind, id));
            }
        }
        for (kind, data) in hello.extensions() {
            match kind {
                extension::USE_SRTP => self.srtp = true,
                extension::CONNECTION_ID => self.ids[0] = data.first().map(|n| usize::from(*n)),
                _ => {}
            }
        }
    }

    fn chose(&mut self, hello: &ServerHello<'_>, context: &mut Context<'_>) {
        self.handshake.chose(hello);
        if !hello.is_13() && !hello.session_id.is_empty() {
            let name = context.name(SESSION_ID, hello.session_id);
            if !self.resumes.contains(&name) {
                self.names.push(name);
            }
        }
        let mut agreed = false;
        for (kind, data) in hello.extensions() {
            match kind {
                extension::USE_SRTP => self.srtp_agreed = true,
                extension::CONNECTION_ID => {
                    agreed = true;
                    self.ids[1] = data.first().map(|n| usize::from(*n));
                }
                _ => {}
            }
        }
        if !agreed {
            self.ids = [None; 2];
        }
    }

    pub(super) fn call(&self) -> Option<&Call> {
        self.call.as_ref()
    }

    /// Details besides the verdict.
    pub(super) fn part(&self) -> Part {
        let mut notes = Vec::new();
        if self.cookie {
            notes.push(
                "cookie: the server verified the client's address before the handshake".to_owned(),
            );
        }
        if self.srtp_agreed || self.srtp && self.handshake.chosen.is_some_and(|c| c.is_13()) {
            notes.push(
                "srtp: the handshake makes keys for WebRTC media; such certificates are self-signed and identified by fingerprint"
                    .to_owned(),
            );
        }
        let verdict = self.call.as_ref().map(|call| call.verdict);
        if matches!(verdict, Some(Verdict::Mtls | Verdict::Tls))
            && self.handshake.completed.is_none()
        {
            notes.push(
                "unconfirmed: the server's answer to the client's flight was not seen".into(),
            );
        }
        Part {
            protocol: "dtls",
            tls: Some(self.handshake.info(self.call.as_ref())),
            notes,
        }
    }
}
