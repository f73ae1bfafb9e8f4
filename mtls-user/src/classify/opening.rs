//! The first bytes of both sides, until they say what the flow is.

use super::plain;
use crate::wire::tls::hello::V2Hello;
use crate::wire::tls::record::may_be_handshake;

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Not enough to tell.
    Wait,
    /// A ClientHello begins.
    Tls,
    /// A ClientHello in SSL 2.0's framing.
    V2(V2Hello),
    /// A protocol in plaintext.
    Plain(&'static str),
    /// Neither.
    Opaque,
}

/// Whether a server whose client sent nothing gave up with a TLS alert.
pub(super) fn is_alert(server: &[u8]) -> bool {
    matches!(server, [21, 3, 0..=4, 0, 2, 1 | 2, _, ..])
}

/// How many bytes of a side are looked at: what is still not known by then never will be.
const ENOUGH: usize = 8 << 10;

/// Looks at what is known from the start of both streams.
pub(super) fn look(client: &[u8], server: &[u8]) -> Look {
    if client.is_empty() {
        return Look::Wait;
    }
    if may_be_handshake(client, 1) {
        return if client.len() > 5 {
            Look::Tls
        } else {
            Look::Wait
        };
    }
    let v2 = V2Hello::at(client);
    if let Some(Some(hello)) = v2 {
        return Look::V2(hello);
    }
    match plain::identify(client, server) {
        plain::Match::Yes(protocol) => Look::Plain(protocol),
        plain::Match::More if client.len().max(server.len()) < ENOUGH => Look::Wait,
        _ if v2.is_some() && client.len() < 16 => Look::Wait,
        _ => Look::Opaque,
    }
}
