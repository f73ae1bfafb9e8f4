//! The state of one flow.

use smol_str::{SmolStr, format_smolstr};

use super::api::{Finding, Piece, Progress, Side};
use super::call::{Call, Reason};
use super::open::Open;
use super::sessions::Context;
use super::settled::{Known, Settled, Via};
use super::tls::Facts;
use crate::record::{Cause, Evidence, Origin, Verdict};

/// The state of one flow.
#[derive(Debug)]
pub struct Classifier {
    origin: Origin,
    /// The side that was taken for the server is the client.
    swapped: bool,
    state: State,
}

/// The progress of a classifier, in increasing order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Certainty {
    /// It has no answer yet.
    Undecided,
    /// It has an answer, and further bytes may add to it.
    Decided,
    /// It needs no more bytes.
    Settled,
}

#[derive(Debug)]
enum State {
    /// No payload yet.
    Idle,
    Open(Box<Open>),
    Settled(Box<Settled>),
}

impl Classifier {
    /// A flow of which nothing has been seen yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            swapped: false,
            state: State::Idle,
        }
    }

    /// Processes a piece of `side`'s stream. Pieces may be out of order, duplicated or overlapping,
    /// and there may be gaps between them.
    pub fn segment(&mut self, side: Side, piece: Piece<'_>, context: &mut Context<'_>) -> Progress {
        if matches!(self.state, State::Idle) {
            if piece.len == 0 {
                return Progress::NeedMore;
            }
            self.state = State::Open(Box::new(Open::new(self.origin)));
        }
        let side = self.side(side);
        if let State::Settled(settled) = &mut self.state {
            return settled.look(side, &piece);
        }
        self.advance(context, |open, context| open.take(side, &piece, context))
    }

    /// `side` closed its stream, which was `length` bytes long; `ack` as in [`Piece`].
    pub fn fin(
        &mut self,
        side: Side,
        length: u64,
        ack: Option<u64>,
        context: &mut Context<'_>,
    ) -> Progress {
        let side = self.side(side);
        self.advance(context, |open, context| {
            open.close(side, length, ack);
            open.evaluate(context)
        })
    }

    /// The connection was reset. What was sent before may still be on its way to the observer, so
    /// [`Classifier::finish`] decides what a RST means.
    pub fn rst(&mut self, context: &mut Context<'_>) -> Progress {
        self.advance(context, |open, context| {
            open.reset = true;
            open.evaluate(context)
        })
    }

    /// The flow ended or is forgotten: decides what can be decided. `lost`: samples of this flow
    /// were lost, so that what is missing proves nothing.
    pub fn finish(&mut self, lost: bool, context: &mut Context<'_>) {
        if matches!(self.state, State::Idle) && lost {
            let mut known = Known::new();
            known.call = Some(Call::unobserved(Reason::Said(
                Cause::SamplesLost,
                "samples of this flow were lost",
            )));
            self.state = State::Settled(Box::new(Settled {
                known,
                facts: None,
                watch: None,
            }));
        }
        self.advance(context, |open, context| {
            open.finish(lost, context);
            true
        });
        self.settle();
    }

    /// Memory that is held until the flow is settled, in bytes.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Open(open) => open.held(),
            State::Idle | State::Settled(_) => 0,
        }
    }

    /// Gives up further details of a flow that is known to be plaintext. False if it is not.
    pub(crate) fn settle_plaintext(&mut self) -> bool {
        let is_plaintext = self.verdict() == Verdict::Plaintext;
        if is_plaintext {
            self.settle();
        }
        is_plaintext
    }

    /// What is known so far. Builds strings, so call it for reports, not per segment.
    pub fn finding(&self) -> Finding {
        let (known, facts) = self.known();
        let call = known.and_then(|known| known.call.as_ref());
        let mut finding = Finding {
            verdict: self.verdict(),
            evidence: call.and_then(|call| call.evidence),
            cause: match (call, known) {
                (Some(call), _) => call.reason.cause(),
                (None, None) => Cause::NoPayload,
                (None, _) if facts.is_some() => Cause::HandshakeNotOver,
                (None, _) => Cause::NotDecided,
            },
            reason: match (call, known) {
                (Some(call), _) => call.reason.text(),
                (None, None) => SmolStr::new_static("no payload was seen"),
                (None, _) if facts.is_some() => SmolStr::new_static("the handshake is not over"),
                (None, _) => SmolStr::new_static("not enough was seen yet"),
            },
            protocol: known.map_or("unknown", |known| known.protocol),
            tls: facts.map(|facts| facts.info(call)),
            http: known.and_then(Known::http).cloned(),
            notes: facts.map(|facts| facts.notes(call)).unwrap_or_default(),
        };
        if let Some(known) = known {
            finding.notes.extend(known.notes());
        }
        if let State::Settled(settled) = &self.state
            && settled.is_unconfirmed()
        {
            finding.notes.push(
                "unconfirmed: the server's answer to the client's flight was not seen".into(),
            );
        }
        if let Some(name) = known.and_then(Known::secret)
            && matches!(
                finding.verdict,
                Verdict::Tls | Verdict::TlsUnproven | Verdict::Opaque
            )
        {
            finding.cause = Cause::SecretInClear;
            finding.reason =
                format_smolstr!("password sent in clear ({name}), then: {}", finding.reason);
        }
        if finding.verdict == Verdict::TlsUnproven {
            // An undecided flow is described by what it claims to be, or by how it came to TLS.
            if let Some(mesh) = facts.and_then(Facts::mesh) {
                finding.evidence = Some(Evidence::Mesh);
                finding.reason = format_smolstr!(
                    "{}; {}'s fingerprint claims that it is mutual",
                    finding.reason,
                    mesh.name
                );
            } else if finding.evidence == Some(Evidence::FirstBytes)
                && known.is_some_and(|k| matches!(k.via().last(), Some(Via::Upgrade(_))))
            {
                finding.evidence = Some(Evidence::Upgrade);
            }
        }
        finding
    }

    /// The verdict as far as it is known: `no-data` before any payload, `unobserved` while it is
    /// undecided.
    pub fn verdict(&self) -> Verdict {
        match self.known().0 {
            None => Verdict::NoData,
            Some(known) => known
                .call
                .as_ref()
                .map_or(Verdict::Unobserved, |call| call.verdict),
        }
    }

    /// No payload was seen.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Decided, and no more bytes are needed; further pieces are only checked for contradictions.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Settled(_))
    }

    /// Its progress; of two that watch one connection, the one that has progressed further is used.
    pub(crate) fn certainty(&self) -> Certainty {
        match (&self.state, self.known().0) {
            (State::Settled(_), _) => Certainty::Settled,
            (_, Some(known)) if known.call.is_some() => Certainty::Decided,
            _ => Certainty::Undecided,
        }
    }

    /// The content shows that the two sides are swapped (midstream: the side taken for the server
    /// sent a ClientHello or a request). The finding already has the right order; the caller swaps
    /// the addresses.
    pub fn client_is_server(&self) -> bool {
        self.swapped
    }

    fn known(&self) -> (Option<&Known>, Option<&Facts>) {
        match &self.state {
            State::Idle => (None, None),
            State::Open(open) => (Some(&open.known), open.facts()),
            State::Settled(settled) => (Some(&settled.known), settled.facts.as_ref()),
        }
    }

    fn side(&self, side: Side) -> Side {
        if self.swapped { side.other() } else { side }
    }

    /// Advances an open flow by a step; it settles when there is nothing more to learn.
    fn advance(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(&mut Open, &mut Context<'_>) -> bool,
    ) -> Progress {
        let State::Open(open) = &mut self.state else {
            return if self.is_done() {
                Progress::Done
            } else {
                Progress::NeedMore
            };
        };
        // The client is the side that behaves like one.
        let (client, server) = (context.client, context.server);
        let (client, server) = if self.swapped {
            (server, client)
        } else {
            (client, server)
        };
        let mut context = Context {
            client,
            server,
            sessions: context.sessions,
        };
        let undecided = open.known.call.is_none();
        let news = step(open, &mut context) || undecided && open.known.call.is_some();
        self.swapped ^= std::mem::take(&mut open.swap);
        let settled = open.is_settled();
        if settled {
            self.settle();
        }
        match (news, settled) {
            (true, _) => Progress::Changed,
            (false, true) => Progress::Done,
            (false, false) => Progress::NeedMore,
        }
    }

    fn settle(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) => State::Settled(Box::new(open.settle())),
            other => other,
        };
    }
}
