//! Protocols in the middle of a stream.

use super::http1::{self, Response};
use super::redis;
use super::{Match, Shape, lines, starts};
use crate::classify::Side;
use crate::wire::tls::record::may_be_handshake;

pub(in crate::classify) mod frames;

/// The protocol that `bytes` in the middle of a stream certainly belong to.
pub(in crate::classify) fn name(side: Side, bytes: &[u8]) -> Option<&'static str> {
    match side {
        Side::Client => match http1::request(bytes) {
            Match::Yes(name) => Some(name),
            _ if redis::array(bytes) == Shape::Yes => Some("redis"),
            _ if starts(bytes, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == Shape::Yes => Some("http/2"),
            _ => None,
        },
        Side::Server => match http1::response(bytes) {
            Match::Yes(name) => Some(name),
            // Redis has responses like this.
            _ => lines::greeting(bytes).filter(|_| !bytes.starts_with(b"+OK\r")),
        },
    }
}

/// Whether a piece of text may precede TLS: a proxy handshake, a dialogue that can upgrade to TLS,
/// a request for an upgrade to TLS.
pub(in crate::classify) fn may_precede_tls(side: Side, bytes: &[u8]) -> bool {
    let is_xml = starts(bytes, b"<") == Shape::Yes;
    match side {
        Side::Client => {
            bytes.starts_with(b"CONNECT ")
                || http1::wishes_tls(bytes)
                || is_xml
                || lines::may_precede_tls(bytes)
        }
        Side::Server => match http1::final_response(bytes) {
            // A response without content is a proxy's answer to CONNECT, or its request for
            // credentials.
            Response::Of(status, head, _) => {
                let behind = &bytes[head..];
                let may_turn = if behind.is_empty() {
                    !has_content(&bytes[..head])
                } else {
                    may_be_handshake(behind, 2)
                };
                matches!(status, 101 | 407) || status < 300 && may_turn
            }
            Response::More => true,
            Response::No => is_xml || lines::may_precede_tls(bytes),
        },
    }
}

/// Whether a piece of text requests TLS, by a command or through a proxy.
pub(in crate::classify) fn asks_for_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(b"CONNECT ") || http1::wishes_tls(bytes) || lines::asks_for_tls(bytes)
}

/// Whether a response's header announces content. Some proxies send a length of 0 for CONNECT.
fn has_content(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii().to_ascii_lowercase();
        match line.strip_prefix(b"content-length:") {
            Some(length) => length.trim_ascii() != b"0",
            None => line.starts_with(b"content-") || line.starts_with(b"transfer"),
        }
    })
}
