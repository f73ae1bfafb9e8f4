//! Protocols by what their first bytes must be, in plaintext or on the way to TLS.

mod binary;
pub(super) mod http1;
pub(super) mod http2;
mod ldap;
mod lines;
mod text;
mod thrift;
mod through;
mod upgrade;

use super::Side;
pub(super) use lines::greeting;

/// What a recognizer says of two prefixes; once it is decided, longer prefixes do not change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// It is not this protocol.
    No,
    /// It may be.
    More,
    /// It is this protocol, which can still turn to TLS.
    Likely(&'static str),
    /// It is this protocol, TLS was asked for, and what came of that is not known yet.
    Asked(&'static str),
    /// It is this protocol, in plaintext.
    Yes(&'static str),
    /// It is this protocol, and encrypted, but not by TLS.
    Encrypted(&'static str),
    /// It is this protocol, and went on in plaintext after TLS was asked for.
    Refused(&'static str),
    /// TLS begins in the client's stream; in the server's too where that is known, else behind
    /// what the client's segment acknowledges.
    Upgrade {
        protocol: &'static str,
        client: usize,
        server: Option<usize>,
    },
    /// Something else begins in both streams: this was only the way there.
    Through {
        protocol: &'static str,
        client: usize,
        server: usize,
    },
}

impl Match {
    fn is_decided(self) -> bool {
        !matches!(
            self,
            Self::No | Self::More | Self::Likely(_) | Self::Asked(_)
        )
    }
}

type Recognizer = fn(&[u8], &[u8]) -> Match;

/// All of them. No stream is more than one's.
const RECOGNIZERS: &[Recognizer] = &[
    through::connect,
    http1::recognize,
    http2::recognize,
    through::proxy_v1,
    through::proxy_v2,
    through::socks5,
    through::socks4,
    upgrade::postgresql,
    upgrade::mysql,
    ldap::ldap,
    upgrade::xmpp,
    upgrade::amqp,
    lines::smtp,
    lines::ftp,
    lines::imap,
    lines::pop3,
    lines::sieve,
    lines::nntp,
    lines::irc,
    text::redis,
    text::memcached,
    text::nats,
    text::ssh,
    text::stomp,
    text::rtsp_or_sip,
    binary::kafka,
    binary::mongodb,
    binary::mqtt,
    binary::cassandra,
    binary::zookeeper,
    binary::dns,
    thrift::thrift,
    binary::dubbo,
    binary::memcached,
];

/// Asks every recognizer.
pub(super) fn identify(client: &[u8], server: &[u8]) -> Match {
    let mut best = Match::No;
    for recognize in RECOGNIZERS {
        let found = recognize(client, server);
        if found.is_decided() {
            return found;
        }
        let known = matches!(found, Match::Likely(_) | Match::Asked(_));
        if best == Match::No || known && best == Match::More {
            best = found;
        }
    }
    best
}

/// The protocol that `bytes` in the middle of a stream beyond doubt belong to.
pub(super) fn name(side: Side, bytes: &[u8]) -> Option<&'static str> {
    let found = match side {
        Side::Client => [
            http1::request(bytes),
            http2::recognize(bytes, &[]),
            text::resp(bytes),
        ],
        Side::Server => [http1::response(bytes), Match::No, Match::No],
    };
    found.into_iter().find_map(|found| match found {
        Match::Yes(name) => Some(name),
        _ => None,
    })
}

/// Whether `bytes` begin with `prefix`, as far as they go.
fn starts(bytes: &[u8], prefix: &[u8]) -> Match {
    let n = bytes.len().min(prefix.len());
    if bytes[..n] != prefix[..n] {
        Match::No
    } else if n < prefix.len() {
        Match::More
    } else {
        Match::Yes("")
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
