//! A TLS connection as far as it is visible: the records of both sides are walked, and facts are
//! collected from them. [`judge`] derives a verdict from these.

mod classic;
mod facts;
mod judge;
mod messages;
mod modern;
mod padding;
mod report;
mod sealed;
mod shape;
mod written;

use std::sync::Arc;

use smallvec::SmallVec;

use super::call::{Broken, Call};
use super::hello::Hello;
use super::readable::Readable;
use super::stream::{NO_ACK, Window};
use super::{Context, Piece, Side};
use crate::wire::cursor::Cursor;
use crate::wire::text;
use crate::wire::tls::hello::V2Hello;
use crate::wire::tls::record::NotTls;
use crate::wire::tls::{Carrier, ClientHello, ContentType, RecordHeader, ServerHello};

pub(super) use facts::Facts;
use facts::{Alert, Answered, Chosen, FirstItem, Offered};
pub(super) use judge::{Ends, null_cipher};
use messages::{Message, Messages};
pub(super) use sealed::{Flight, Sealed};
use written::Written;

/// How many records are kept per side.
const RECORDS: usize = 8;
/// How many bytes show what it is that is not TLS.
const LOOK: usize = 32;

mod kind {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const NEW_SESSION_TICKET: u8 = 4;
    pub(super) const CERTIFICATE: u8 = 11;
    pub(super) const CERTIFICATE_REQUEST: u8 = 13;
    pub(super) const CLIENT_KEY_EXCHANGE: u8 = 16;
}

/// A record whose body shows nothing.
#[derive(Clone, Copy, Debug)]
struct Record {
    content: ContentType,
    len: u16,
    /// Position of its header.
    start: u64,
    /// What the segment with the header acknowledged.
    ack: u64,
}

impl Record {
    fn end(&self) -> u64 {
        self.start + RecordHeader::LEN as u64 + u64::from(self.len)
    }
}

/// One side's records.
#[derive(Debug, Default)]
struct Lane {
    messages: Messages,
    /// ChangeCipherSpec was sent.
    changed: bool,
    /// What the bodies of records that should be encrypted contain, and where the latest one ends.
    readable: Readable,
    body_end: u64,
    /// Records after the hellos: the client's first ones, the server's last ones.
    records: SmallVec<[Record; 4]>,
    sealed: Sealed,
    broken: Option<Broken>,
}

/// The walk over both sides' records.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) facts: Facts,
    offered: Offered,
    answered: Answered,
    lanes: [Lane; 2],
    written: Written,
}

impl Tls {
    pub(super) fn new(port: u16, time: u64) -> Self {
        Self {
            facts: Facts {
                time,
                port,
                ..Facts::default()
            },
            offered: Offered::default(),
            answered: Answered::default(),
            lanes: Default::default(),
            written: Written::default(),
        }
    }

    /// A piece of a side's stream has arrived; what it adds to the stream is then walked over.
    pub(super) fn arrived(&mut self, side: Side, piece: &Piece<'_>) {
        if side == Side::Client {
            self.written.piece(piece);
        }
        // The rest of a body that was skipped.
        let lane = &mut self.lanes[side.index()];
        let readable = lane
            .readable
            .read(side, piece.offset, piece.bytes, lane.body_end);
        lane.broken = lane.broken.or(readable);
    }

    /// A connection whose ClientHello used SSL 2.0 framing.
    pub(super) fn after_v2(hello: V2Hello, port: u16, time: u64) -> Self {
        let mut tls = Self::new(port, time);
        tls.facts.hellos = 1;
        tls.facts.hello = Some(Hello::framed_as_v2(hello.version).into());
        tls
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let lanes = self.lanes.iter();
        size_of::<Self>() + lanes.map(|lane| lane.messages.held()).sum::<usize>()
    }

    /// Walks the records in `window`, and returns where the next one begins. `acked`: how far the
    /// other side has acknowledged; `forced`: nothing will be added to the window.
    pub(super) fn consume(
        &mut self,
        side: Side,
        window: &Window<'_>,
        acked: u64,
        forced: bool,
        context: &mut Context<'_>,
    ) -> u64 {
        let mut at = 0;
        while let Some(rest) = window.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let start = window.start + at as u64;
            if self.lanes[side.index()].broken.is_some() {
                return window.start + window.bytes.len() as u64;
            }
            let header = match RecordHeader::at(rest) {
                Some(Ok(header)) => header,
                // A few more bytes show what it is instead.
                Some(Err(NotTls)) if rest.len() < LOOK && !forced => return start,
                Some(Err(NotTls)) => {
                    self.lanes[side.index()].broken = Some(Broken {
                        readable: text::is_text(&rest[..rest.len().min(LOOK)]),
                        protocol: super::protocols::name(side, rest),
                    });
                    continue;
                }
                None => return start,
            };
            let end = start + header.size();
            let content = &rest[RecordHeader::LEN..];
            let mut body = None;
            if self.wants(side, header) {
                body = content.get(..usize::from(header.len));
                if body.is_none() {
                    self.peek(side, header, content);
                    // What the peer has acknowledged will not come again, so the observer missed
                    // it; the next header after it is available to continue with. A hello is worth
                    // waiting for: acknowledgements can arrive early in a capture.
                    let behind = window.beyond.is_some_and(|(s, e)| s <= end && end < e);
                    if !(forced || behind && acked >= end && self.has_hello(side)) {
                        return start;
                    }
                    self.lanes[side.index()].messages.poison();
                }
            }
            let ack = match window.ack_at(start) {
                // Without acknowledgements, the order of arrival is used.
                NO_ACK => self.lanes[side.other().index()]
                    .records
                    .last()
                    .map_or(0, Record::end),
                ack => ack,
            };
            let record = Record {
                content: header.content,
                len: header.len,
                start,
                ack,
            };
            let lane = &mut self.lanes[side.index()];
            // Before ChangeCipherSpec, only application data is certainly encrypted.
            let is_data = header.content == ContentType::ApplicationData;
            let is_sealed = body.is_none() && (is_data || lane.changed);
            lane.body_end = end;
            lane.readable.begin(header, is_sealed);
            let readable = lane.readable.read(side, start, rest, end);
            lane.broken = lane.broken.or(readable);
            self.record(side, record, body, context);
            at += header.size() as usize;
        }
        window.start + at as u64
    }

    /// Whether a record's body may be unencrypted and informative.
    fn wants(&self, side: Side, header: RecordHeader) -> bool {
        let lane = &self.lanes[side.index()];
        let chosen = self.facts.chosen.as_ref();
        match header.content {
            ContentType::Alert => {
                header.len == 2 && (!lane.changed || chosen.is_none_or(Chosen::is_13))
            }
            ContentType::Handshake => match side {
                // A second ClientHello may follow ChangeCipherSpec.
                Side::Client => {
                    !lane.changed
                        || self.facts.hellos < 2 && (self.facts.retried || chosen.is_none())
                }
                Side::Server => chosen.is_none_or(|c| !c.is_13() && !lane.changed),
            },
            _ => false,
        }
    }

    fn has_hello(&self, side: Side) -> bool {
        match side {
            Side::Client => self.facts.hellos > 0,
            Side::Server => self.facts.chosen.is_some(),
        }
    }

    /// The start of an unencrypted message is enough to identify the client's first message.
    fn peek(&mut self, side: Side, header: RecordHeader, partial: &[u8]) {
        let lane = &self.lanes[side.index()];
        let clear = header.content == ContentType::Handshake && !lane.changed;
        if side == Side::Client && clear && lane.messages.is_idle() && self.facts.hellos > 0 {
            match partial {
                [kind::CERTIFICATE, _, _, _, a, b, c, ..] => {
                    self.facts.first(FirstItem::certificate([*a, *b, *c]));
                }
                [kind::CLIENT_KEY_EXCHANGE, ..] => self.facts.first(FirstItem::KeyExchange),
                _ => {}
            }
        }
    }

    fn record(
        &mut self,
        side: Side,
        record: Record,
        body: Option<&[u8]>,
        context: &mut Context<'_>,
    ) {
        let lane = &mut self.lanes[side.index()];
        match (record.content, body) {
            (ContentType::ChangeCipherSpec, _) => {
                let ended = lane.sealed.end(Some(record.ack));
                if side == Side::Client {
                    if let Some(flight) = ended {
                        self.facts.renegotiate(flight);
                    }
                    self.facts.first(FirstItem::ChangeCipherSpec);
                }
                lane.changed = true;
                return;
            }
            (ContentType::Alert, Some(&[level, code])) => {
                self.facts.alert(Alert { side, level, code });
            }
            (ContentType::Handshake, Some(body)) => {
                // After ChangeCipherSpec, only a second ClientHello is unencrypted.
                let encrypted = side == Side::Client && lane.changed;
                if !encrypted || begins_hello(body) || !lane.messages.is_idle() {
                    self.messages(side, record, body, context);
                    return;
                }
            }
            (ContentType::Handshake, None) if !lane.changed && side == Side::Client => {
                self.facts.first(FirstItem::Unreadable);
            }
            _ => {}
        }
        let lane = &mut self.lanes[side.index()];
        if record.content == ContentType::Handshake {
            lane.sealed.add(record.len, Some(record.ack));
        }
        if lane.records.len() == RECORDS {
            match (side, lane.records.last()) {
                // A record shorter than the last one contradicts padding.
                (Side::Client, Some(last)) if record.len >= last.len => return,
                (Side::Client, _) => drop(lane.records.pop()),
                (Side::Server, _) => drop(lane.records.remove(0)),
            }
        } else if side == Side::Client {
            self.written.record(lane.records.len(), record.start);
        }
        lane.records.push(record);
    }

    fn messages(&mut self, side: Side, record: Record, body: &[u8], context: &mut Context<'_>) {
        let mut messages = std::mem::take(&mut self.lanes[side.index()].messages);
        messages.feed(body, |message| {
            self.message(side, record, &message, context);
        });
        let lane = &mut self.lanes[side.index()];
        lane.messages = messages;
    }

    fn message(
        &mut self,
        side: Side,
        record: Record,
        message: &Message<'_>,
        context: &mut Context<'_>,
    ) {
        let facts = &mut self.facts;
        match (side, message.kind) {
            (Side::Client, kind::CLIENT_HELLO) => {
                facts.hellos = facts.hellos.saturating_add(1);
                facts.first = None;
                let lane = &mut self.lanes[side.index()];
                lane.records.clear();
                self.written.forget();
                let first = facts.hello.take();
                let parsed = message.complete().and_then(ClientHello::parse);
                facts.malformed = parsed.is_none() && message.complete().is_some();
                if let Some(hello) = parsed {
                    self.offered = Offered::new(&hello, context);
                    let mut hello = context.sessions.hello(&hello, facts.port, Carrier::Tcp);
                    // The fingerprint is that of the first hello.
                    if let Some(first) = first {
                        Arc::make_mut(&mut hello).ja4.clone_from(&first.ja4);
                    }
                    facts.hello = Some(hello);
                }
            }
            (Side::Client, kind::CERTIFICATE) => {
                if let Some(&[a, b, c]) = message.body.first_chunk() {
                    facts.first(FirstItem::certificate([a, b, c]));
                }
                facts.rest().certificates[0] = certificate(message, context);
            }
            (Side::Client, kind::CLIENT_KEY_EXCHANGE) => facts.first(FirstItem::KeyExchange),
            (Side::Server, kind::SERVER_HELLO) => {
                match message.complete().and_then(ServerHello::parse) {
                    Some(hello) if hello.retry => facts.retried = true,
                    Some(hello) => {
                        let id = hello.session_id;
                        self.answered.session =
                            (!id.is_empty()).then(|| context.name(facts::SESSION_ID, id));
                        self.answered.end = record.end();
                        facts.chosen = Some(Chosen::new(&hello));
                        if let Some(alpn) = hello.alpn {
                            facts.rest().alpn = Some(text::clean(alpn));
                        }
                    }
                    None => {}
                }
            }
            (Side::Server, kind::CERTIFICATE) => {
                facts.rest().certificates[1] = certificate(message, context);
            }
            (Side::Server, kind::CERTIFICATE_REQUEST) => facts.requested = true,
            (Side::Server, kind::NEW_SESSION_TICKET) => {
                let mut c = Cursor::new(message.complete().unwrap_or_default());
                self.answered.ticket = c
                    .u32()
                    .and_then(|_lifetime| c.vec16())
                    .filter(|ticket| !ticket.is_empty())
                    .map(|ticket| context.name(facts::TICKET, ticket));
            }
            // A peer that echoes the hello, or sends another message first, does not speak TLS.
            (Side::Server, _) if facts.chosen.is_none() && !facts.retried && message.kind != 0 => {
                self.lanes[side.index()].broken = Some(Broken {
                    readable: false,
                    protocol: None,
                });
            }
            _ => {}
        }
    }

    /// Discards what was not consumed and never will be.
    pub(super) fn into_facts(self) -> Facts {
        self.facts
    }

    /// The encrypted handshake records that a side has sent since its ChangeCipherSpec.
    pub(super) fn sealed(&self, side: Side) -> Sealed {
        self.lanes[side.index()].sealed
    }

    /// The names of the two sides in the final reason.
    pub(super) fn verdict(&mut self, ends: &Ends, context: &mut Context<'_>) -> Option<Call> {
        self.judge(ends, context)
    }
}

/// Whether a body begins with a ClientHello, and not with ciphertext that begins the same way.
fn begins_hello(body: &[u8]) -> bool {
    matches!(body, [kind::CLIENT_HELLO, 0, _, _, 3, 3, ..])
}

/// The first certificate of a Certificate message (≤ 1.2).
fn certificate(
    message: &Message<'_>,
    context: &mut Context<'_>,
) -> Option<Arc<crate::wire::tls::Certificate>> {
    let mut c = Cursor::new(message.body);
    c.u24()?;
    context.sessions.certificate(c.vec24()?)
}
