//! What was not seen of a connection, and what that leaves undecided.

use super::state::Flow;
use crate::classify::Side;
use crate::record::{Cause, Origin, Unseen};

/// A reason, as a cause and as a sentence.
pub(super) type Why = (Cause, &'static str);

impl Flow {
    /// Whether something of it was not seen.
    pub(super) fn miss(&mut self, what: Unseen) {
        self.unseen |= 1 << what as u8;
    }

    /// Whether something that this side sent was seen.
    pub(super) fn is_heard(&self, side: Side) -> bool {
        self.heard[side as usize]
    }

    /// What was not seen of it, as far as that is known.
    pub(super) fn unseen(&self) -> impl Iterator<Item = Unseen> {
        let mut bits = self.unseen;
        if self.origin == Origin::Midstream {
            bits |= 1 << Unseen::Start as u8;
        }
        if self.kept.as_ref().is_some_and(|kept| kept.gaps.is_some()) {
            bits |= 1 << Unseen::Bytes as u8;
        }
        if !(self.heard[0] && self.heard[1]) {
            bits |= 1 << Unseen::Direction as u8;
        }
        Unseen::ALL
            .into_iter()
            .filter(move |what| bits & 1 << *what as u8 != 0)
    }

    /// Conflicting contents were seen for the same bytes.
    pub(super) fn is_contested(&self) -> bool {
        self.unseen & 1 << Unseen::Conflict as u8 != 0
    }

    /// Whether samples of it may be missing, so that what is missing proves nothing.
    pub(super) fn is_incomplete(&self) -> bool {
        let proving_nothing = [Unseen::Samples, Unseen::Fragments, Unseen::Conflict];
        proving_nothing
            .iter()
            .any(|what| self.unseen & 1 << *what as u8 != 0)
    }

    /// Why what is missing of it proves nothing.
    pub(super) fn why_incomplete(&self) -> Option<Why> {
        if self.unseen & 1 << Unseen::Fragments as u8 != 0 {
            let words = "its payload was in IP fragments, which are not read";
            Some((Cause::Fragmented, words))
        } else {
            let words = "samples of this flow were lost";
            self.is_incomplete().then_some((Cause::SamplesLost, words))
        }
    }

    /// Why a connection without payload carried none, if that is proven by a close or an
    /// acknowledgement of each side. Otherwise, why it is not proven.
    pub(super) fn emptiness(&self) -> Result<Why, Why> {
        let [client, server] = &self.streams;
        if let Some(why) = self.why_incomplete() {
            return Err(why);
        }
        if client.next > 0 || server.next > 0 {
            let words = "it carried data, but none of it was captured";
            return Err((Cause::PayloadNotSeen, words));
        }
        if self.origin == Origin::Midstream {
            let words = "opened before mtls started, and no payload was seen";
            return Err((Cause::StartNotSeen, words));
        }
        if !server.has_base() && client.is_confirmed_empty() && self.reset[1] {
            return Ok((Cause::ConnectionRefused, "server refused the connection"));
        }
        if client.isn().is_none() || server.isn().is_none() {
            return Err((Cause::Unanswered, "no answer to its SYN was seen"));
        }
        if !self.is_closed() {
            return Ok((Cause::NoPayload, "no payload so far"));
        }
        let proven = |side: Side| {
            let stream = self.stream(side);
            let silent = self.reset[side as usize] || !self.sampled;
            stream.is_proven_empty() || silent && self.ended && stream.next == 0
        };
        if proven(Side::Client) && proven(Side::Server) {
            let words = "both sides closed without a byte of payload";
            Ok((Cause::NoPayload, words))
        } else if self.ended {
            let words = "no payload was seen; its end does not prove that there was none";
            Err((Cause::EndNotSeen, words))
        } else {
            Err((Cause::EndNotSeen, "no payload was seen, nor its end"))
        }
    }
}
