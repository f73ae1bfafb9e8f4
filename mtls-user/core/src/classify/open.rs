//! A flow that needs more bytes.

mod joined;
mod turn;
mod wrapped;

use self::wrapped::Wrapped;
use super::api::{Piece, Side};
use super::call::{Call, Reason};
use super::exchange::{self, Exchange};
use super::midstream::Midstream;
use super::opening::{self, Look};
use super::protocols::Match;
use super::sessions::Context;
use super::settled::{Known, Settled, Via};
use super::stream::{NO_ACK, Stream};
use super::tls::{Ends, Facts, Sealed, Tls};
use super::watch::Watch;
use crate::record::{Cause, Evidence, Origin, Verdict};
use crate::wire::tls::record::is_handshake;

/// How many protocols may precede the real one.
const MAX_VIA: usize = 4;

/// A flow that needs more bytes.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) known: Known,
    streams: [Stream; 2],
    phase: Phase,
    /// When each side's first piece arrived.
    times: [Option<u64>; 2],
    /// Per side, how much it had sent before it received anything from the other.
    unanswered: [u64; 2],
    pub(super) reset: bool,
    /// Follows a stream whose start was not seen.
    midstream: Option<Box<Midstream>>,
    /// Unwraps TLS that is carried in another protocol's packets.
    wrapped: Option<Box<Wrapped>>,
    /// What a ServerHello contained whose ClientHello was not seen.
    server_alone: Option<Box<Facts>>,
    /// The side that was taken for the server turned out to be the client.
    pub(super) swap: bool,
}

#[derive(Debug)]
enum Phase {
    Opening,
    Tls(Box<Tls>),
    Http(Exchange),
    /// Decided; there is nothing more to learn.
    Over,
    /// Midstream TLS: decided, with the expected position of a side's next record.
    Framed(Side, u64),
}

impl Open {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            known: Known::new(),
            streams: Default::default(),
            phase: Phase::Opening,
            times: [None; 2],
            unanswered: [0; 2],
            reset: false,
            midstream: (origin == Origin::Midstream).then(Box::default),
            wrapped: None,
            server_alone: None,
            swap: false,
        }
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let phase = match &self.phase {
            Phase::Tls(tls) => tls.held(),
            _ => 0,
        };
        let streams: usize = self.streams.iter().map(Stream::held).sum();
        let wrapped = self.wrapped.as_ref().map_or(0, |wrapped| wrapped.held());
        let midstream = self
            .midstream
            .as_ref()
            .map_or(0, |_| size_of::<Midstream>());
        size_of::<Self>() + phase + streams + wrapped + midstream
    }

    /// What TLS has shown so far.
    pub(super) fn facts(&self) -> Option<&Facts> {
        match &self.phase {
            Phase::Tls(tls) => Some(&tls.facts),
            _ => self.server_alone.as_deref(),
        }
    }

    /// Converts a position of a side's stream to the positions used here.
    fn position(&self, side: Side, position: u64) -> u64 {
        self.wrapped
            .as_ref()
            .map_or(position, |wrapped| wrapped.position(side, position))
    }

    fn acknowledged(&mut self, side: Side, ack: Option<u64>) {
        let other = &mut self.streams[side.other().index()];
        other.acked = other.acked.max(ack.unwrap_or(0));
    }

    pub(super) fn close(&mut self, side: Side, length: u64, ack: Option<u64>) {
        let length = self.position(side, length);
        let ack = ack.map(|ack| self.position(side.other(), ack));
        let stream = &mut self.streams[side.index()];
        stream.end = Some(length);
        stream.end_ack = ack;
        stream.seen = stream.seen.max(length);
        self.acknowledged(side, ack);
    }

    /// Processes a piece. True if there is something to report.
    pub(super) fn take(
        &mut self,
        side: Side,
        piece: &Piece<'_>,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(wrapped) = &mut self.wrapped else {
            return self.take_piece(side, piece, context);
        };
        let mut news = false;
        for unwrapped in wrapped.unwrap(side, piece) {
            news |= self.take_piece(side, &unwrapped.piece(), context);
        }
        news
    }

    fn take_piece(&mut self, side: Side, piece: &Piece<'_>, context: &mut Context<'_>) -> bool {
        let i = side.index();
        self.acknowledged(side, piece.ack);
        if piece.ack == Some(0) {
            let end = piece.offset + u64::from(piece.len);
            self.unanswered[i] = self.unanswered[i].max(end);
        }
        if piece.len > 0 {
            let time = self.times[i].get_or_insert(piece.time);
            *time = (*time).min(piece.time);
        }
        // A hello at the start of the stream, where most flows begin, is not copied.
        if matches!(self.phase, Phase::Opening)
            && side == Side::Client
            && piece.offset == 0
            && piece.ack.unwrap_or(0) == 0
            && is_handshake(piece.bytes, 1)
            && self.streams.iter().all(|stream| stream.prefix().is_empty())
        {
            self.enter_tls(Tls::new(context.server.port, piece.time), context);
        }
        let ack = piece.ack.unwrap_or(NO_ACK);
        let stream = &mut self.streams[i];
        match &mut self.phase {
            Phase::Tls(tls) => {
                tls.arrived(side, piece);
                let acked = stream.acked;
                stream.push(piece.offset, piece.len, piece.bytes, ack, |w| {
                    tls.consume(side, w, acked, false, context)
                });
                self.walk(side.other(), false, context);
            }
            _ => stream.push(piece.offset, piece.len, piece.bytes, ack, |w| w.start),
        }
        let news = self.evaluate(context);
        if !matches!(self.phase, Phase::Opening) {
            return news;
        }
        if self.begins_tls(side, piece) {
            return self.turn_to_tls(side, piece, context);
        }
        let seen = self.look_midstream(side, piece);
        if matches!(self.phase, Phase::Framed(..)) {
            self.hear_server(context);
        }
        seen || news
    }

    /// Walks over the held bytes of a side.
    fn walk(&mut self, side: Side, forced: bool, context: &mut Context<'_>) {
        if let Phase::Tls(tls) = &mut self.phase {
            let stream = &mut self.streams[side.index()];
            let acked = stream.acked;
            stream.pump(|w| tls.consume(side, w, acked, forced, context));
        }
    }

    fn enter_tls(&mut self, tls: Tls, context: &mut Context<'_>) {
        if !matches!(self.known.via().last(), Some(Via::Upgrade(_))) {
            self.known.protocol = "tls";
        }
        self.midstream = None;
        self.phase = Phase::Tls(Box::new(tls));
        for side in Side::BOTH {
            self.walk(side, false, context);
        }
    }

    fn time(&self) -> u64 {
        self.times.iter().flatten().min().copied().unwrap_or(0)
    }

    fn ends(&self, over: bool) -> Ends {
        let [client, server] = &self.streams;
        Ends {
            complete: [client.is_complete(), server.is_complete()],
            hole: [over && client.has_hole(), over && server.has_hole()],
            seen: [client.seen, server.seen],
            unanswered: self.unanswered[0],
            client_left_first: server
                .end_ack
                .is_some_and(|ack| ack > client.end.unwrap_or(client.seen)),
            closed: self.reset || client.end.is_some() && server.end.is_some(),
            over,
        }
    }

    /// Evaluates what is available. True if there is something to report.
    pub(super) fn evaluate(&mut self, context: &mut Context<'_>) -> bool {
        while let Phase::Opening = self.phase {
            // The side that answers a ClientHello is the server, even if it opened the connection
            // (FTP data connections in active mode, RFC 4217 §7).
            let [client, server] = &self.streams;
            let turned = is_handshake(server.prefix(), 1) && is_handshake(client.prefix(), 2);
            let joined = opening::is_client(server.prefix())
                || is_handshake(client.prefix(), 2) && !is_handshake(server.prefix(), 2);
            if turned || self.midstream.is_some() && joined {
                self.swap_sides(context);
            }
            let [client, server] = &self.streams;
            match self.look(opening::look(client.prefix(), server.prefix()), context) {
                Look::Wait => return false,
                Look::Known(
                    Match::Likely(protocol) | Match::Asked(protocol) | Match::Declined(protocol),
                ) => {
                    self.known.protocol = protocol;
                    return false;
                }
                _ => {}
            }
        }
        match &mut self.phase {
            Phase::Tls(_) => {
                let ends = self.ends(false);
                let Phase::Tls(tls) = &mut self.phase else {
                    return false;
                };
                if let Some(answer) = tls.answer_in_clear() {
                    return self.answered_in_clear(answer);
                }
                tls.verdict(&ends, context)
                    .is_some_and(|call| self.known.adopt(call))
            }
            Phase::Http(_) => self.read_http(),
            _ => false,
        }
    }

    /// Swaps the sides: the one taken for the server is the client.
    fn swap_sides(&mut self, context: &mut Context<'_>) {
        self.streams.swap(0, 1);
        self.times.swap(0, 1);
        self.unanswered.swap(0, 1);
        self.swap = !self.swap;
        std::mem::swap(&mut context.client, &mut context.server);
    }

    /// Reads what is available of the first exchange. True if all of it was.
    fn read_http(&mut self) -> bool {
        let Phase::Http(exchange) = &mut self.phase else {
            return false;
        };
        let info = self.known.http_mut();
        let [client, server] = &self.streams;
        let full = [client.overflow, server.overflow];
        exchange.read([client.prefix(), server.prefix()], full, info);
        if let (Some(_), [Some(asked), Some(answered)]) = (info.status, self.times) {
            info.latency_ns = answered.checked_sub(asked);
        }
        let nature = exchange::by_nature(info);
        if let Some(protocol) = exchange.protocol() {
            self.known.protocol = protocol;
        }
        if let (Some(words), Some(call)) = (nature, &mut self.known.call) {
            call.reason = Reason::Said(call.reason.cause(), words);
        }
        exchange.is_over()
    }

    pub(super) fn is_settled(&self) -> bool {
        let Some(call) = &self.known.call else {
            return false;
        };
        match &self.phase {
            Phase::Opening => false,
            Phase::Over | Phase::Framed(..) => true,
            Phase::Http(exchange) => exchange.is_over(),
            Phase::Tls(tls) => {
                tls.is_settled()
                    || matches!(
                        call.verdict,
                        Verdict::Plaintext | Verdict::Opaque | Verdict::Failed
                    )
            }
        }
    }

    pub(super) fn finish(&mut self, lost: bool, context: &mut Context<'_>) {
        for side in Side::BOTH {
            // If samples were lost, there may have been more.
            self.walk(side, !lost, context);
        }
        self.evaluate(context);
        if matches!(self.phase, Phase::Opening) && opening::may_be_tls(self.streams[0].prefix()) {
            let reason = Reason::Said(
                Cause::TooLittle,
                "too few bytes were sent to know what they are",
            );
            self.fresh(Call::unobserved(reason));
        }
        let missed = self.streams.iter().any(Stream::has_hole);
        let midstream = self.midstream.is_some();
        if matches!(self.phase, Phase::Opening) && !lost {
            self.conclude(missed, context);
        }
        let ends = self.ends(true);
        if let Phase::Tls(tls) = &mut self.phase
            && !lost
            && let Some(call) = tls.verdict(&ends, context)
        {
            self.known.adopt(call);
        }
        if self.known.call.is_none() {
            self.hear_server(context);
        }
        if self.server_alone.is_some() && !lost && self.known.call.is_none() {
            self.known.protocol = "tls";
            let reason = Reason::Said(Cause::HandshakeNotSeen, "the ClientHello was not seen");
            self.fresh(Call::new(
                Verdict::TlsUnproven,
                Evidence::FirstBytes,
                reason,
            ));
        }
        let (cause, words) = if lost {
            (Cause::SamplesLost, "samples of this flow were lost")
        } else if missed && !midstream {
            (
                Cause::StartNotSeen,
                "some of the first bytes of the flow were not seen",
            )
        } else {
            (
                Cause::StartNotSeen,
                "opened before mtls started, and nothing in it tells what it is",
            )
        };
        self.fresh(Call::unobserved(Reason::Said(cause, words)));
    }

    /// Nothing more will come, and the first bytes have not shown what it is.
    fn conclude(&mut self, missed: bool, context: &mut Context<'_>) {
        let [client, server] = &self.streams;
        let look = self.last_look(client.prefix(), server.prefix());
        let is_known = matches!(look, Look::Known(_));
        let nothing = |stream: &Stream| stream.prefix().is_empty() && !stream.has_hole();
        if let Some(midstream) = &self.midstream {
            if is_known {
                self.decide(look);
            } else {
                let sight = midstream.last_look();
                self.see(sight, Side::Client);
            }
        } else if missed {
            self.hear_one_side();
            return;
        } else if client.seen == 0 && opening::is_alert(server.prefix()) {
            if server.prefix().len() as u64 == server.seen && opening::is_alerts(server.prefix()) {
                // A TCP probe of a TLS server: no handshake failed, because none was started.
                let words = "client closed without sending anything; server sent an alert";
                self.known.protocol = "tls";
                let reason = Reason::Said(Cause::NoPayload, words);
                self.fresh(Call::without_evidence(Verdict::NoData, reason));
                self.phase = Phase::Over;
            } else {
                self.enter_tls(Tls::new(context.server.port, self.time()), context);
            }
        } else if !self.known.via().is_empty() && nothing(client) && nothing(server) {
            let reason = Reason::Said(Cause::NoPayload, "nothing followed the proxy header");
            self.fresh(Call::without_evidence(Verdict::NoData, reason));
        } else {
            self.decide(look);
        }
        self.evaluate(context);
    }

    /// What the first bytes mean if no more will come. If the connection was not seen to end, a
    /// protocol that could still upgrade to TLS or to its own encryption is not plaintext yet; HTTP
    /// is, once it is recognised.
    fn last_look(&self, client: &[u8], server: &[u8]) -> Look {
        let closed = self.reset || self.streams.iter().any(|stream| stream.end.is_some());
        let last = opening::last_look(client, server);
        match opening::look(client, server) {
            // In the middle of a stream, a greeting may be a response.
            Look::Wait if self.midstream.is_some() => Look::Wait,
            _ if closed => last,
            Look::Known(Match::Likely(name))
                if name.starts_with("http/") && !client.starts_with(b"CONNECT ") =>
            {
                last
            }
            // Only the server has shown what it is.
            Look::Wait if client.is_empty() => match last {
                Look::Known(Match::Yes(name)) => Look::Known(Match::Likely(name)),
                _ => Look::Wait,
            },
            undecided => undecided,
        }
    }

    pub(super) fn settle(mut self: Box<Self>) -> Settled {
        let (facts, watch) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Tls(tls) => {
                let watch = Side::BOTH.map(|side| self.watch(side, tls.sealed(side)));
                (Some(tls.into_facts()), Some(watch))
            }
            Phase::Framed(side, next) => {
                let watch = Side::BOTH.map(|s| Watch::new(next, s == side, Sealed::default()));
                (self.server_alone.map(|facts| *facts), Some(watch))
            }
            _ => (self.server_alone.map(|facts| *facts), None),
        };
        Settled {
            known: self.known,
            facts,
            watch,
        }
    }

    /// Continues where the walk over a side's records has stopped.
    fn watch(&self, side: Side, sealed: Sealed) -> Watch {
        let stream = &self.streams[side.index()];
        // After another protocol's packets, positions differ from those of future pieces.
        let aligned = !stream.overflow && self.wrapped.is_none();
        let mut watch = Watch::new(stream.next, aligned, sealed);
        // The start of a header may already be held.
        let bytes = stream.prefix();
        if !bytes.is_empty() && aligned {
            let (offset, len) = (stream.next, bytes.len() as u32);
            let piece = Piece {
                offset,
                len,
                bytes,
                ack: None,
                time: 0,
                inside: false,
            };
            watch.look(side, &piece);
        }
        watch
    }
}
