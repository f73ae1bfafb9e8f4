//! A decided flow: the answer, and what may still revise it.

use super::api::{Piece, Progress, Side};
use super::call::{self, Call, Reason, Words};
use super::tls::Facts;
use super::watch::{Sight, Watch};
use crate::record::{Evidence, HttpInfo, Verdict};
use crate::wire::tls::record::is_handshake;

/// The answer, as far as it goes.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) call: Option<Call>,
    pub(super) protocol: &'static str,
    details: Option<Box<Details>>,
}

/// Data that only some flows have.
#[derive(Debug, Default)]
struct Details {
    http: Option<HttpInfo>,
    /// What preceded the final protocol.
    via: Vec<Via>,
}

/// A step before the final protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Via {
    /// A protocol that upgraded to TLS in band.
    Upgrade(&'static str),
    /// A proxy, or a header that precedes the real protocol.
    Through(&'static str),
    /// The same, with a password in cleartext.
    Secret(&'static str),
    /// TLS that began after the flow had been called plaintext, or could no longer be mutual.
    TooLate,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            call: None,
            protocol: "unknown",
            details: None,
        }
    }

    /// Decides, or revises. True if that is to be reported.
    ///
    /// After a password in cleartext, no verdict is as good as mutual TLS or no data.
    pub(super) fn adopt(&mut self, mut call: Call) -> bool {
        use Verdict::{Failed, Mtls, NoData, Unobserved};
        if let Some(name) = self.secret()
            && matches!(call.verdict, Mtls | Failed | NoData | Unobserved)
        {
            if call.verdict == Mtls && !self.via().contains(&Via::TooLate) {
                self.came(Via::TooLate);
            }
            self.protocol = name;
            let reason = Reason::Named(Words::Secret, name);
            call =
                Call::new(Verdict::Plaintext, Evidence::FirstBytes, reason).with(call.certificate);
        }
        let news = self.call.as_ref().is_none_or(|old| old.may_become(&call));
        if news {
            self.call = Some(call);
        }
        news
    }

    /// The first exchange of plaintext HTTP.
    pub(super) fn http(&self) -> Option<&HttpInfo> {
        self.details.as_ref()?.http.as_ref()
    }

    /// The same, to be filled in.
    pub(super) fn http_mut(&mut self) -> &mut HttpInfo {
        let details = self.details.get_or_insert_default();
        details.http.get_or_insert_default()
    }

    /// What preceded the final protocol.
    pub(super) fn via(&self) -> &[Via] {
        self.details.as_ref().map_or(&[], |details| &details.via)
    }

    /// The preceding protocol that revealed a password.
    pub(super) fn secret(&self) -> Option<&'static str> {
        self.via().iter().find_map(|via| match via {
            Via::Secret(name) => Some(*name),
            _ => None,
        })
    }

    /// Adds a preceding step.
    pub(super) fn came(&mut self, via: Via) {
        self.details.get_or_insert_default().via.push(via);
    }

    /// The last step was an upgrade to TLS that did not happen; returns the protocol in which it
    /// was requested.
    pub(super) fn take_back_upgrade(&mut self) -> Option<&'static str> {
        let via = &mut self.details.as_mut()?.via;
        let Some(Via::Upgrade(name)) = via.last().copied() else {
            return None;
        };
        via.pop();
        Some(name)
    }

    /// The preceding steps, as notes.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.via().iter().map(|via| match via {
            Via::Upgrade(name) => format!("upgrade: {name} upgraded to TLS in band"),
            Via::Through(name) => format!("through: {name}"),
            Via::Secret(name) => {
                format!("secret-in-clear: a password was sent in plaintext ({name})")
            }
            Via::TooLate => "tls-too-late: TLS began after data was sent in plaintext".into(),
        })
    }
}

/// A decided flow.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) known: Known,
    pub(super) facts: Option<Facts>,
    pub(super) watch: Option<[Watch; 2]>,
}

impl Settled {
    /// TLS according to what the client sent; the flow ended before the server accepted or rejected
    /// it.
    pub(super) fn is_unconfirmed(&self) -> bool {
        let call = self.known.call.as_ref();
        call.is_some_and(|call| matches!(call.verdict, Verdict::Mtls | Verdict::Tls))
            && self.facts.as_ref().is_some_and(Facts::is_unconfirmed)
    }

    pub(super) fn look(&mut self, side: Side, piece: &Piece<'_>) -> Progress {
        let Some(watch) = &mut self.watch else {
            return self.look_for_tls(side, piece);
        };
        let call = match watch[side.index()].look(side, piece) {
            Sight::Nothing => return Progress::Done,
            Sight::Broken(broken) => broken.call(),
            Sight::Again => call::again(),
            Sight::Renegotiated(flight) => {
                match self
                    .facts
                    .as_mut()
                    .and_then(|facts| facts.renegotiate(flight))
                {
                    Some(call) => call,
                    None => return Progress::Done,
                }
            }
        };
        if matches!(call.verdict, Verdict::Plaintext | Verdict::Opaque) {
            self.watch = None;
        }
        if self.known.adopt(call) {
            Progress::Changed
        } else {
            Progress::Done
        }
    }

    /// A flow that sent a password or real data in cleartext may still upgrade to TLS. That does
    /// not change the verdict, but is worth a note.
    fn look_for_tls(&mut self, side: Side, piece: &Piece<'_>) -> Progress {
        let begins = side == Side::Client && is_handshake(piece.bytes, 1);
        if !begins || self.known.via().contains(&Via::TooLate) {
            return Progress::Done;
        }
        self.known.came(Via::TooLate);
        Progress::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow that is done and idle takes little memory.
    #[test]
    fn a_settled_flow_is_small() {
        let size = size_of::<Settled>();
        assert!(size <= 168, "{size}");
    }
}
