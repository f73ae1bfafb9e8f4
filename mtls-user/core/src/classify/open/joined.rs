//! A midstream flow, or one whose start is missing.

use super::{Open, Phase};
use crate::classify::api::{Piece, Side};
use crate::classify::call::{Call, Reason, Words};
use crate::classify::midstream::{Midstream, Sight};
use crate::classify::sessions::Context;
use crate::classify::stream::Stream;
use crate::classify::tls::Tls;
use crate::record::{Cause, Evidence, Verdict};
use crate::wire::tls::record::is_handshake;

/// The reason for a stream about which nothing else is known.
const MIDDLE_IS_TEXT: &str = "unencrypted text in the middle of the connection";
/// How much of a midstream flow is read as if it were the start.
const LATE: u64 = 8 << 10;

impl Open {
    /// Evaluates the middle of a stream whose start is missing.
    pub(super) fn look_midstream(&mut self, side: Side, piece: &Piece<'_>) -> bool {
        if !matches!(self.phase, Phase::Opening) {
            return false;
        }
        let late = |s: &Stream| s.overflow && s.prefix().is_empty();
        if self.midstream.is_none() && self.streams.iter().any(late) {
            self.midstream = Some(Box::<Midstream>::default());
        }
        let Some(midstream) = &mut self.midstream else {
            return false;
        };
        let sight = midstream.look(side, piece);
        if self.streams.iter().any(|s| s.seen > s.next + LATE) {
            // Its first bytes did not decide.
            self.streams.iter_mut().for_each(Stream::clear);
        }
        self.see(sight, side)
    }

    /// Processes what the middle of a stream shows, on this side. True if there is something to
    /// report.
    pub(super) fn see(&mut self, sight: Sight, side: Side) -> bool {
        let plain = |reason| Call::new(Verdict::Plaintext, Evidence::FirstBytes, reason);
        let call = match sight {
            Sight::Nothing => return false,
            Sight::Tls(next) => {
                self.known.protocol = "tls";
                self.phase = Phase::Framed(side, next);
                let reason = Reason::Said(
                    Cause::StartNotSeen,
                    "opened before mtls started; known after the next reconnect",
                );
                Call::new(Verdict::TlsUnproven, Evidence::RecordFraming, reason)
            }
            Sight::Plain { protocol, swapped } => {
                self.swap ^= swapped;
                self.known.protocol = protocol;
                self.phase = Phase::Over;
                plain(Reason::Named(Words::Plain, protocol))
            }
            Sight::Text => {
                self.phase = Phase::Over;
                plain(Reason::Said(Cause::Unencrypted, MIDDLE_IS_TEXT))
            }
        };
        self.known.adopt(call)
    }

    /// If only one direction of a connection was seen, its first bytes may be something that only
    /// plaintext contains: then it is plaintext.
    pub(super) fn hear_one_side(&mut self) {
        for side in Side::BOTH {
            let stream = &self.streams[side.index()];
            let unseen = &self.streams[side.other().index()];
            let bytes = stream.prefix();
            if stream.next > 0 || bytes.is_empty() || !unseen.prefix().is_empty() {
                continue;
            }
            let piece = Piece {
                offset: 0,
                len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                bytes,
                ack: None,
                time: 0,
                inside: false,
            };
            let sight = Midstream::default().look(side, &piece);
            if let Sight::Plain { swapped: false, .. } = sight {
                self.see(sight, side);
            }
        }
    }

    /// A ServerHello shows the server's choices, and TLS 1.2's certificates are unencrypted, even
    /// if the ClientHello was not seen.
    pub(super) fn hear_server(&mut self, context: &mut Context<'_>) {
        let [_, server] = &mut self.streams;
        if matches!(self.phase, Phase::Opening | Phase::Framed(..))
            && is_handshake(server.prefix(), 2)
        {
            let mut tls = Tls::new(context.server.port, self.times[1].unwrap_or(0));
            let acked = server.acked;
            server.pump(|w| tls.consume(Side::Server, w, acked, true, context));
            self.server_alone = Some(Box::new(tls.into_facts()));
        }
    }
}
