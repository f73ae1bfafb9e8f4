//! The first bytes of both sides, until they show what the flow is.

use super::protocols::{self, Match};
use crate::wire::text;
use crate::wire::tls::hello::V2Hello;
use crate::wire::tls::record::{is_handshake, may_be_handshake};

/// What the first bytes show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Not enough to decide.
    Wait,
    /// A ClientHello begins.
    Tls,
    /// A ClientHello in SSL 2.0 framing.
    V2(V2Hello),
    /// A known protocol, whose further course may be unknown.
    Known(Match),
    /// Readable, but of no known protocol.
    Text,
    /// Neither TLS nor a known protocol.
    Opaque,
}

/// How many bytes per side are inspected: what they do not show will never be known.
const ENOUGH: usize = 16 << 10;
/// How many bytes of an unknown protocol are needed to recognise text.
const TEXT: usize = 16;

/// Evaluates the start of both streams. Once it is decided, longer prefixes do not change it.
pub(super) fn look(client: &[u8], server: &[u8]) -> Look {
    if !client.is_empty() && may_be_handshake(client, 1) {
        if !is_handshake(client, 1) {
            return Look::Wait;
        }
        // The server spoke first, and then the client sent TLS: not the start of a TLS connection,
        // but an upgrade.
        return match protocols::identify(client, server) {
            upgrade @ Match::Upgrade(_) => Look::Known(upgrade),
            _ => Look::Tls,
        };
    }
    let v2 = V2Hello::at(client);
    if let Some(Some(hello)) = v2 {
        return Look::V2(hello);
    }
    let long = client.len().max(server.len()) > ENOUGH;
    match protocols::identify(client, server) {
        Match::Likely(protocol) if long => Look::Known(Match::Yes(protocol)),
        Match::More if !long => Look::Wait,
        Match::No | Match::More if client.len() < TEXT => Look::Wait,
        Match::No | Match::More if text::is_text(&client[..TEXT]) => Look::Text,
        Match::No | Match::More => Look::Opaque,
        known => Look::Known(known),
    }
}

/// The result if nothing more will come.
pub(super) fn last_look(client: &[u8], server: &[u8]) -> Look {
    match look(client, server) {
        Look::Known(Match::Likely(protocol)) => Look::Known(Match::Yes(protocol)),
        Look::Known(Match::Declined(protocol)) => Look::Known(Match::Refused(protocol)),
        Look::Wait => {
            let first = if client.is_empty() { server } else { client };
            match protocols::greeting(server).filter(|_| client.is_empty()) {
                Some(protocol) => Look::Known(Match::Yes(protocol)),
                None if first.len() >= 4 && text::is_text(&first[..first.len().min(TEXT)]) => {
                    Look::Text
                }
                None => Look::Opaque,
            }
        }
        decided => decided,
    }
}

/// Whether these are the first bytes of the side that opened the connection.
pub(super) fn is_client(bytes: &[u8]) -> bool {
    is_handshake(bytes, 1) || matches!(protocols::http1::request(bytes), Match::Yes(_))
}

/// Whether there are too few bytes to know whether a ClientHello begins.
pub(super) fn may_be_tls(client: &[u8]) -> bool {
    !client.is_empty() && may_be_handshake(client, 1) && !is_handshake(client, 1)
}

/// Whether the server gave up with a TLS alert after the client sent nothing.
pub(super) fn is_alert(server: &[u8]) -> bool {
    matches!(server, [21, 3, 0..=4, 0, 2, 1 | 2, _, ..])
}

/// The same, if the server sent nothing else.
pub(super) fn is_alerts(server: &[u8]) -> bool {
    let (alerts, rest) = server.as_chunks();
    rest.is_empty() && alerts.iter().all(|alert: &[u8; 7]| is_alert(alert))
}
