//! Protocols in plaintext, by what their first bytes must be.

pub(super) mod http1;

use super::Side;

/// What a recognizer says of a prefix; once it is not `More`, a longer prefix does not change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// It is this protocol.
    Yes(&'static str),
    /// It is not.
    No,
    /// So far it may be.
    More,
}

/// Asks every recognizer.
pub(super) fn identify(client: &[u8], _server: &[u8]) -> Match {
    http1::request(client)
}

/// The protocol that `bytes` in the middle of a stream beyond doubt belong to.
pub(super) fn name(side: Side, bytes: &[u8]) -> Option<&'static str> {
    let found = match side {
        Side::Client => http1::request(bytes),
        Side::Server => http1::response(bytes),
    };
    match found {
        Match::Yes(name) => Some(name),
        _ => None,
    }
}
