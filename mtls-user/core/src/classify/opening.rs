//! The first bytes of both sides, until they say what the flow is.

use super::plain::{self, Match};
use crate::wire::text;
use crate::wire::tls::hello::V2Hello;
use crate::wire::tls::record::{is_handshake, may_be_handshake};

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Not enough to tell; a protocol that it is, if nothing else comes.
    Wait(Option<&'static str>),
    /// Not enough to tell whether TLS, which was asked for in this protocol, will come.
    Asked(&'static str),
    /// A ClientHello begins.
    Tls,
    /// A ClientHello in SSL 2.0's framing.
    V2(V2Hello),
    /// A protocol in plaintext.
    Plain(&'static str),
    /// A protocol that encrypts by other means than TLS.
    Encrypted(&'static str),
    /// A protocol in plaintext, after TLS was asked for.
    Refused(&'static str),
    /// TLS begins behind these positions; the server's where it is known.
    Upgrade {
        protocol: &'static str,
        client: usize,
        server: Option<usize>,
    },
    /// Look again behind these positions.
    Through {
        protocol: &'static str,
        client: usize,
        server: usize,
    },
    /// Readable, but of no protocol that is known.
    Text,
    /// Neither TLS nor anything known.
    Opaque,
}

/// How many bytes of a side are looked at: what is still not known by then never will be.
const ENOUGH: usize = 8 << 10;
/// How many bytes of no known protocol tell whether they are text.
const TEXT: usize = 16;

/// Looks at what is known from the start of both streams. Once it is decided, longer prefixes do
/// not change it.
pub(super) fn look(client: &[u8], server: &[u8]) -> Look {
    if !client.is_empty() && may_be_handshake(client, 1) {
        return match client.len() {
            // A server that spoke first and then is spoken to in TLS: not the start of a TLS
            // connection, but an upgrade.
            6.. => match plain::identify(client, server) {
                Match::Upgrade {
                    protocol,
                    client,
                    server,
                } => Look::Upgrade {
                    protocol,
                    client,
                    server,
                },
                _ => Look::Tls,
            },
            _ => Look::Wait(None),
        };
    }
    let v2 = V2Hello::at(client);
    if let Some(Some(hello)) = v2 {
        return Look::V2(hello);
    }
    let long = client.len().max(server.len()) > ENOUGH;
    match plain::identify(client, server) {
        Match::Yes(protocol) => Look::Plain(protocol),
        Match::Encrypted(protocol) => Look::Encrypted(protocol),
        Match::Refused(protocol) => Look::Refused(protocol),
        Match::Upgrade {
            protocol,
            client,
            server,
        } => Look::Upgrade {
            protocol,
            client,
            server,
        },
        Match::Through {
            protocol,
            client,
            server,
        } => Look::Through {
            protocol,
            client,
            server,
        },
        Match::Likely(protocol) if long => Look::Plain(protocol),
        Match::Likely(protocol) => Look::Wait(Some(protocol)),
        Match::Asked(protocol) if long => Look::Refused(protocol),
        Match::Asked(protocol) => Look::Asked(protocol),
        Match::More if !long => Look::Wait(None),
        _ if client.len() < TEXT => Look::Wait(None),
        _ if text::is_text(&client[..TEXT]) => Look::Text,
        _ => Look::Opaque,
    }
}

/// What it is when nothing more will come.
pub(super) fn last_look(client: &[u8], server: &[u8]) -> Look {
    match look(client, server) {
        Look::Wait(Some(protocol)) => Look::Plain(protocol),
        Look::Asked(protocol) => Look::Refused(protocol),
        Look::Wait(None) => {
            let first = if client.is_empty() { server } else { client };
            match plain::greeting(server).filter(|_| client.is_empty()) {
                Some(protocol) => Look::Plain(protocol),
                None if first.len() >= 4 && text::is_text(&first[..first.len().min(TEXT)]) => {
                    Look::Text
                }
                None => Look::Opaque,
            }
        }
        decided => decided,
    }
}

/// Whether these are the first bytes of a side that opened the connection.
pub(super) fn is_client(bytes: &[u8]) -> bool {
    is_handshake(bytes, 1) || matches!(plain::http1::request(bytes), Match::Yes(_))
}

/// Whether a server whose client sent nothing gave up with a TLS alert.
pub(super) fn is_alert(server: &[u8]) -> bool {
    matches!(server, [21, 3, 0..=4, 0, 2, 1 | 2, _, ..])
}
