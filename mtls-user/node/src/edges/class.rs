//! Connections of an edge that are identical in everything that is reported about them.

use smol_str::SmolStr;

use mtls_core::record::{
    Cause, Exempt, Expectation, FlowRecord, Mark, Outcome, Span, Verdict, Word,
};

use super::window::Window;

/// How much of a connection was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Complete,
    Partial,
    Unobserved,
}

/// What is reported about a connection, as far as connections are distinguished by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Profile {
    pub(super) verdict: Word<Verdict>,
    pub(super) cause: Word<Cause>,
    pub(super) exempt: Option<Word<Exempt>>,
    pub(super) outcome: Option<Word<Outcome>>,
    pub(super) seen: Seen,
    pub(super) mismatch: bool,
    /// `None` if there are too many different values.
    pub(super) details: Option<Details>,
}

/// Values that can occur in any number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Details {
    pub(super) protocol: SmolStr,
    pub(super) version: Option<SmolStr>,
    pub(super) cipher: Option<SmolStr>,
    pub(super) group: Option<SmolStr>,
    pub(super) client_identity: Option<SmolStr>,
    pub(super) server_identity: Option<SmolStr>,
}

impl Profile {
    pub(super) fn of(flow: &FlowRecord) -> Self {
        let tls = flow.tls.as_deref();
        Self {
            verdict: flow.verdict.clone(),
            cause: flow.cause.clone(),
            exempt: flow.exempt.as_ref().map(|exempt| exempt.class.clone()),
            outcome: flow.expectation.as_ref().map(|e| e.outcome.clone()),
            seen: if flow.verdict == Verdict::Unobserved {
                Seen::Unobserved
            } else if flow.is_complete() {
                Seen::Complete
            } else {
                Seen::Partial
            },
            mismatch: !flow.mismatches.is_empty(),
            details: Some(Details {
                protocol: flow.protocol.clone(),
                version: tls.and_then(|tls| tls.version.clone()),
                cipher: tls.and_then(|tls| tls.cipher.clone()),
                group: tls.and_then(|tls| tls.group.clone()),
                client_identity: tls.and_then(|tls| tls.client_identity.clone()),
                server_identity: tls.and_then(|tls| tls.server_identity.clone()),
            }),
        }
    }

    /// The mark of the connections; `None` if they are exempt or exposed nothing.
    pub(super) fn mark(&self) -> Option<Mark> {
        match self.exempt {
            Some(_) => None,
            None => Mark::of(&self.verdict, &self.cause, self.seen == Seen::Complete),
        }
    }
}

/// Connections with one profile.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) profile: Profile,
    pub(super) window: Window,
    pub(super) span: Span,
    /// The sentence of the latest one.
    pub(super) reason: SmolStr,
    pub(super) expectation: Option<Expectation>,
}

impl Class {
    pub(super) fn new(profile: Profile, flow: &FlowRecord) -> Self {
        Self {
            profile,
            window: Window::default(),
            span: span(flow),
            reason: flow.reason.clone(),
            expectation: flow.expectation.clone(),
        }
    }

    /// Adds what is new about a connection.
    pub(super) fn renew(&mut self, flow: &FlowRecord) {
        self.span.widen(span(flow));
        super::renew(&mut self.reason, &flow.reason);
        super::renew(&mut self.expectation, &flow.expectation);
    }
}

fn span(flow: &FlowRecord) -> Span {
    Span {
        first_seen: flow.first_seen,
        last_seen: flow.last_seen,
    }
}
