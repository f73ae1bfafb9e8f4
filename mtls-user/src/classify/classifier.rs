//! The state of one flow.

use super::api::{Context, Finding, Piece, Progress, Side};
use super::call::{Call, Reason};
use super::opening::{self, Look};
use super::plain::http1;
use super::stream::{NO_ACK, Stream};
use super::tls::{Broken, Ends, Facts, Tls};
use super::watch::{Sight, Watch};
use crate::verdict::{ClientCertificate, Evidence, HttpInfo, Origin, Verdict};

/// The state of one flow.
#[derive(Debug)]
pub struct Classifier {
    origin: Origin,
    /// The side taken for the server is the client.
    swapped: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No payload yet.
    Idle,
    Open(Box<Open>),
    Settled(Box<Settled>),
}

/// The answer, as far as it goes.
#[derive(Debug)]
struct Known {
    call: Option<Call>,
    protocol: &'static str,
    http: Option<Box<HttpInfo>>,
}

/// A flow that more bytes are wanted of.
#[derive(Debug)]
struct Open {
    known: Known,
    streams: [Stream; 2],
    phase: Phase,
    /// When each side's first piece came.
    times: [Option<u64>; 2],
    reset: bool,
}

#[derive(Debug)]
enum Phase {
    Opening,
    Tls(Box<Tls>),
    /// What is still to be read of the first exchange: the request's head, the response's.
    Http([bool; 2]),
}

/// A flow that was decided.
#[derive(Debug)]
struct Settled {
    known: Known,
    facts: Option<Box<Facts>>,
    watch: Option<[Watch; 2]>,
}

impl Classifier {
    /// A flow of which nothing was seen yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            swapped: false,
            state: State::Idle,
        }
    }

    /// Takes in a piece of `side`'s stream. Pieces may come out of order, twice, overlapping and
    /// with holes between them.
    pub fn segment(&mut self, side: Side, piece: Piece<'_>, context: &mut Context<'_>) -> Progress {
        let side = self.side(side);
        if matches!(self.state, State::Idle) {
            if piece.len == 0 {
                return Progress::NeedMore;
            }
            self.state = State::Open(Box::new(Open::new()));
        }
        let context = &mut self.facing(context);
        match &mut self.state {
            State::Open(open) => {
                open.take(side, &piece, context);
                if self.origin == Origin::Midstream && !self.swapped && open.is_swapped() {
                    self.swapped = true;
                    open.swap();
                    std::mem::swap(&mut context.client, &mut context.server);
                }
                self.evaluate(context)
            }
            State::Settled(settled) => settled.look(side, &piece),
            State::Idle => Progress::NeedMore,
        }
    }

    /// `side` closed its stream, which was `length` bytes long; `ack` as in [`Piece`].
    pub fn fin(
        &mut self,
        side: Side,
        length: u64,
        ack: Option<u64>,
        _time: u64,
        context: &mut Context<'_>,
    ) -> Progress {
        let side = self.side(side);
        let context = &mut self.facing(context);
        if let State::Open(open) = &mut self.state {
            let stream = &mut open.streams[side.index()];
            stream.end = Some(length);
            stream.end_ack = ack;
            stream.seen = stream.seen.max(length);
            open.acknowledge(side, ack);
        }
        self.evaluate(context)
    }

    /// `side` reset the connection. What was sent before it may still be on its way to the
    /// observer, so what a reset means is settled by [`Classifier::finish`].
    pub fn rst(&mut self, _side: Side, _time: u64, context: &mut Context<'_>) -> Progress {
        let context = &mut self.facing(context);
        if let State::Open(open) = &mut self.state {
            open.reset = true;
        }
        self.evaluate(context)
    }

    /// The flow ended or is forgotten: settles what can be settled. `lost`: samples of this flow
    /// were lost, so that what is missing proves nothing.
    pub fn finish(&mut self, lost: bool, context: &mut Context<'_>) {
        let context = &mut self.facing(context);
        match &mut self.state {
            State::Idle if lost => {
                let call = Call::unobserved("samples of this flow were lost");
                let known = Known {
                    call: Some(call),
                    ..Known::new()
                };
                self.state = State::Settled(Box::new(Settled {
                    known,
                    facts: None,
                    watch: None,
                }));
            }
            State::Idle | State::Settled(_) => {}
            State::Open(open) => {
                open.finish(lost, self.origin, context);
                self.settle();
            }
        }
    }

    /// What is known so far. Builds strings: call it to report, not per segment.
    pub fn finding(&self) -> Finding {
        let (known, facts) = match &self.state {
            State::Idle => (None, None),
            State::Open(open) => {
                let facts = match &open.phase {
                    Phase::Tls(tls) => Some(&*tls.facts),
                    _ => None,
                };
                (Some(&open.known), facts)
            }
            State::Settled(settled) => (Some(&settled.known), settled.facts.as_deref()),
        };
        let call = known.and_then(|known| known.call.as_ref());
        Finding {
            verdict: self.verdict(),
            evidence: call.and_then(|call| call.evidence),
            reason: match (call, &self.state) {
                (Some(call), _) => call.reason.text(),
                (None, State::Idle) => "no payload was seen".into(),
                (None, _) if facts.is_some() => "the handshake is not over".into(),
                (None, _) => "not enough was seen yet".into(),
            },
            protocol: known.map_or("unknown", |known| known.protocol).into(),
            tls: facts.map(|facts| facts.info(call)),
            http: known.and_then(|known| known.http.as_deref()).cloned(),
            notes: facts.map(|facts| facts.notes(call)).unwrap_or_default(),
        }
    }

    /// The verdict as far as it is known: `no-data` before any payload, `unobserved` while it is
    /// not decided.
    pub fn verdict(&self) -> Verdict {
        let call = match &self.state {
            State::Idle => return Verdict::NoData,
            State::Open(open) => &open.known.call,
            State::Settled(settled) => &settled.known.call,
        };
        call.as_ref()
            .map_or(Verdict::Unobserved, |call| call.verdict)
    }

    /// Decided, and no more bytes are wanted; pieces given all the same are looked at for
    /// contradictions.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Settled(_))
    }

    /// The content shows that the two sides are swapped (mid-stream: the side taken for the server
    /// sent a ClientHello or a request). The finding is said in the right order already; the caller
    /// swaps the addresses.
    pub fn client_is_server(&self) -> bool {
        self.swapped
    }

    /// The surroundings as the content says they are: the client is who behaves like one.
    fn facing<'a>(&self, context: &'a mut Context<'_>) -> Context<'a> {
        let (client, server) = (context.client, context.server);
        let (client, server) = if self.swapped {
            (server, client)
        } else {
            (client, server)
        };
        Context {
            client,
            server,
            sessions: context.sessions,
        }
    }

    fn side(&self, side: Side) -> Side {
        if self.swapped { side.other() } else { side }
    }

    fn evaluate(&mut self, context: &mut Context<'_>) -> Progress {
        let State::Open(open) = &mut self.state else {
            return if self.is_done() {
                Progress::Done
            } else {
                Progress::NeedMore
            };
        };
        let changed = open.evaluate(self.origin, context);
        let settled = open.is_settled();
        if settled {
            self.settle();
        }
        if changed {
            Progress::Changed
        } else if settled {
            Progress::Done
        } else {
            Progress::NeedMore
        }
    }

    fn settle(&mut self) {
        if let State::Open(open) = std::mem::replace(&mut self.state, State::Idle) {
            self.state = State::Settled(Box::new(open.settle()));
        }
    }
}

impl Known {
    fn new() -> Self {
        Self {
            call: None,
            protocol: "unknown",
            http: None,
        }
    }

    /// Decides, or revises. True when that is news.
    fn adopt(&mut self, call: Call) -> bool {
        let news = match &self.call {
            None => true,
            Some(old) => old.may_become(&call),
        };
        if news {
            self.call = Some(call);
        }
        news
    }
}

impl Open {
    fn new() -> Self {
        Self {
            known: Known::new(),
            streams: Default::default(),
            phase: Phase::Opening,
            times: [None; 2],
            reset: false,
        }
    }

    fn acknowledge(&mut self, side: Side, ack: Option<u64>) {
        let other = &mut self.streams[side.other().index()];
        other.acked = other.acked.max(ack.unwrap_or(0));
    }

    fn take(&mut self, side: Side, piece: &Piece<'_>, context: &mut Context<'_>) {
        let i = side.index();
        self.acknowledge(side, piece.ack);
        if piece.len > 0 {
            let time = self.times[i].get_or_insert(piece.time);
            *time = (*time).min(piece.time);
        }
        // A hello at the start of the stream, where most flows begin, is not copied.
        if matches!(self.phase, Phase::Opening)
            && side == Side::Client
            && piece.offset == 0
            && self.streams[i].prefix().is_empty()
            && opening::look(piece.bytes, &[]) == Look::Tls
        {
            self.enter_tls(Tls::new(piece.time), context);
        }
        let ack = piece.ack.unwrap_or(NO_ACK);
        let stream = &mut self.streams[i];
        match &mut self.phase {
            Phase::Tls(tls) => {
                let acked = stream.acked;
                stream.push(piece.offset, piece.len, piece.bytes, ack, |w| {
                    tls.consume(side, w, acked, false, context)
                });
                self.walk(side.other(), false, context);
            }
            _ => stream.push(piece.offset, piece.len, piece.bytes, ack, |w| w.start),
        }
    }

    /// Walks over what is held of a side.
    fn walk(&mut self, side: Side, forced: bool, context: &mut Context<'_>) {
        if let Phase::Tls(tls) = &mut self.phase {
            let stream = &mut self.streams[side.index()];
            let acked = stream.acked;
            stream.pump(|w| tls.consume(side, w, acked, forced, context));
        }
    }

    fn enter_tls(&mut self, tls: Tls, context: &mut Context<'_>) {
        self.known.protocol = "tls";
        self.phase = Phase::Tls(Box::new(tls));
        for side in Side::BOTH {
            self.walk(side, false, context);
        }
    }

    /// Mid-stream: whether the server's side began with what only a client sends.
    fn is_swapped(&self) -> bool {
        matches!(self.phase, Phase::Opening)
            && matches!(
                opening::look(self.streams[1].prefix(), self.streams[0].prefix()),
                Look::Tls | Look::Plain(_)
            )
    }

    fn swap(&mut self) {
        self.streams.swap(0, 1);
        self.times.swap(0, 1);
    }

    fn time(&self) -> u64 {
        self.times.iter().flatten().min().copied().unwrap_or(0)
    }

    fn ends(&self, over: bool) -> Ends {
        let [client, server] = &self.streams;
        Ends {
            complete: [client.is_complete(), server.is_complete()],
            hole: [client.has_hole(), server.has_hole()],
            seen: [client.seen, server.seen],
            client_left_first: server
                .end_ack
                .is_some_and(|ack| ack > client.end.unwrap_or(client.seen)),
            closed: self.reset || client.end.is_some() && server.end.is_some(),
            over,
        }
    }

    /// True when there is news.
    fn evaluate(&mut self, origin: Origin, context: &mut Context<'_>) -> bool {
        if let Phase::Opening = self.phase {
            let [client, server] = &self.streams;
            match opening::look(client.prefix(), server.prefix()) {
                Look::Wait => return false,
                Look::Tls => self.enter_tls(Tls::new(self.time()), context),
                Look::V2(hello) => {
                    self.streams[0].next += hello.size as u64;
                    self.enter_tls(Tls::after_v2(hello, self.time()), context);
                }
                Look::Plain(protocol) => self.enter_plain(protocol),
                // In the middle of a stream, strange bytes are no wonder.
                Look::Opaque if origin == Origin::Midstream => return false,
                Look::Opaque => {
                    return self.known.adopt(Call::new(
                        Verdict::Opaque,
                        Evidence::FirstBytes,
                        Reason::Text("the first bytes are neither TLS nor a protocol known here"),
                    ));
                }
            }
        }
        match &mut self.phase {
            Phase::Opening => false,
            Phase::Tls(_) => {
                let ends = self.ends(false);
                let Phase::Tls(tls) = &mut self.phase else {
                    return false;
                };
                tls.verdict(&ends, context)
                    .is_some_and(|call| self.known.adopt(call))
            }
            Phase::Http(read) => {
                let before = *read;
                let first = self.known.adopt(Call::new(
                    Verdict::Plaintext,
                    Evidence::FirstBytes,
                    Reason::Named("the first bytes are plaintext:", self.known.protocol),
                ));
                let complete = self.read_http();
                first || complete && before != [true; 2]
            }
        }
    }

    fn enter_plain(&mut self, protocol: &'static str) {
        self.known.protocol = protocol;
        self.known.http = Some(Box::default());
        self.phase = Phase::Http([false; 2]);
    }

    /// Reads what is there of the first exchange. True when all of it was.
    fn read_http(&mut self) -> bool {
        let (Phase::Http(read), Some(info)) = (&mut self.phase, &mut self.known.http) else {
            return false;
        };
        let [client, server] = &self.streams;
        if !read[0] {
            read[0] = http1::read_request(client.prefix(), info) || client.overflow;
        }
        if !read[1] && !server.prefix().is_empty() {
            read[1] = http1::read_response(server.prefix(), info) || server.overflow;
            if let [Some(asked), Some(answered)] = self.times {
                info.latency_ns = answered.checked_sub(asked);
            }
        }
        *read == [true; 2]
    }

    fn is_settled(&self) -> bool {
        let Some(call) = &self.known.call else {
            return false;
        };
        match &self.phase {
            Phase::Opening => true,
            Phase::Http(read) => *read == [true; 2],
            Phase::Tls(tls) => {
                tls.is_settled()
                    || matches!(
                        call.verdict,
                        Verdict::Plaintext | Verdict::Opaque | Verdict::Failed
                    )
            }
        }
    }

    fn finish(&mut self, lost: bool, origin: Origin, context: &mut Context<'_>) {
        for side in Side::BOTH {
            self.walk(side, true, context);
        }
        let [client, server] = &self.streams;
        if matches!(self.phase, Phase::Opening)
            && client.seen == 0
            && !lost
            && opening::is_alert(server.prefix())
        {
            self.enter_tls(Tls::new(self.time()), context);
        }
        self.evaluate(origin, context);
        if !lost {
            let ends = self.ends(true);
            if let Phase::Tls(tls) = &mut self.phase
                && let Some(call) = tls.verdict(&ends, context)
            {
                self.known.adopt(call);
            }
        }
        if self.known.call.is_none() {
            let [client, server] = &self.streams;
            let missed = client.has_hole() || server.has_hole();
            self.known.call = Some(if lost {
                Call::unobserved("samples of this flow were lost")
            } else if origin == Origin::Midstream {
                Call::unobserved("older than the observation, and nothing tells what it is")
            } else if missed {
                Call::unobserved("some of the first bytes of the flow were not seen")
            } else {
                Call::new(
                    Verdict::Opaque,
                    Evidence::FirstBytes,
                    Reason::Text("too few bytes to belong to a protocol known here"),
                )
            });
        }
    }

    fn settle(self: Box<Self>) -> Settled {
        let Self {
            known,
            streams,
            phase,
            ..
        } = *self;
        let Phase::Tls(tls) = phase else {
            return Settled {
                known,
                facts: None,
                watch: None,
            };
        };
        let encrypted = [tls.encrypted(), 0];
        let mut watch = [0, 1].map(|i| {
            let stream: &Stream = &streams[i];
            Watch::new(stream.next, !stream.overflow, encrypted[i])
        });
        for side in Side::BOTH {
            // The start of a header may be held already.
            let stream = &streams[side.index()];
            let bytes = stream.prefix();
            let piece = Piece {
                offset: stream.next,
                len: bytes.len() as u32,
                bytes,
                ack: None,
                time: 0,
            };
            watch[side.index()].look(side, &piece);
        }
        Settled {
            known,
            facts: Some(tls.into_facts()),
            watch: Some(watch),
        }
    }
}

impl Settled {
    fn look(&mut self, side: Side, piece: &Piece<'_>) -> Progress {
        let Some(watch) = &mut self.watch else {
            return Progress::Done;
        };
        let call = match watch[side.index()].look(side, piece) {
            Sight::Nothing => return Progress::Done,
            Sight::Broken(broken) => contradicted(broken),
            Sight::Renegotiated => {
                let Some(facts) = &mut self.facts else {
                    return Progress::Done;
                };
                match facts.renegotiate() {
                    Some(call) => call,
                    None => return Progress::Done,
                }
            }
        };
        let over = matches!(call.verdict, Verdict::Plaintext | Verdict::Opaque);
        let changed = self.known.adopt(call);
        if over {
            self.watch = None;
        }
        if changed {
            Progress::Changed
        } else {
            Progress::Done
        }
    }
}

/// What a flow is that was TLS and then was not.
pub(super) fn contradicted(broken: Broken) -> Call {
    let (verdict, reason) = match broken.protocol {
        Some(name) => (
            Verdict::Plaintext,
            Reason::Named("what follows the TLS records is plaintext:", name),
        ),
        None if broken.readable => (
            Verdict::Plaintext,
            Reason::Text("what follows the TLS records is readable text"),
        ),
        None => (
            Verdict::Opaque,
            Reason::Text("what follows the TLS records is not TLS"),
        ),
    };
    Call::new(verdict, Evidence::RecordFraming, reason).with(ClientCertificate::Unknown)
}
