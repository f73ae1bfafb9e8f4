//! Recognises protocols by the required form of their first bytes: in plaintext, with their own
//! encryption, or before an upgrade to TLS.
//!
//! Each file is one family of protocols; one line in the [registry](REGISTRY) adds its
//! [`Recogniser`]s. Nothing else needs to know about a protocol.

mod bytes;
mod matches;
mod middle;

pub(super) use bytes::{First, Shape, follows, shape, starts};
pub(super) use lines::greeting;
pub(super) use matches::{Framing, Match, Turn};
pub(super) use middle::{asks_for_tls, frames, may_precede_tls, name};

/// Recognises one protocol, or several that begin alike.
#[derive(Clone, Copy)]
pub(super) struct Recogniser {
    /// The possible first bytes of a client: the recogniser is asked only for these.
    first: First,
    /// Its answer for the client's and the server's first bytes.
    recognise: fn(&[u8], &[u8]) -> Match,
}

impl Recogniser {
    const fn new(first: First, recognise: fn(&[u8], &[u8]) -> Match) -> Self {
        Self { first, recognise }
    }
}

/// Declares the families' files and registers their recognisers. `cargo fmt` does not format
/// modules declared in a macro: a test formats these files.
macro_rules! registry {
    ($($family:ident)*) => {
        $(pub(super) mod $family;)*

        /// Every family's recognisers, by name. No stream matches more than one.
        const REGISTRY: &[(&str, &[Recogniser])] =
            &[$((stringify!($family), $family::RECOGNISERS)),*];
    };
}

registry! {
    proxy
    http1
    http2
    postgresql
    mysql
    ldap
    xmpp
    amqp
    lines
    redis
    memcached
    nats
    ssh
    stomp
    sip
    kafka
    mongodb
    mqtt
    cassandra
    zookeeper
    dns
    thrift
    dubbo
    rdp
    tds
    rpc
    nbd
    vnc
    hashicorp
    vpn
    zmtp
    smb
    dcerpc
    kerberos
    industrial
    opcua
    bgp
    oracle
    openwire
    diameter
    syslog
    elasticsearch
    clickhouse
    hazelcast
    aerospike
    pulsar
    rocketmq
    rtmp
    fix
    hl7
    telnet
}

const fn count() -> usize {
    let (mut n, mut i) = (0, 0);
    while i < REGISTRY.len() {
        n += REGISTRY[i].1.len();
        i += 1;
    }
    n
}

/// All of them, in order.
const ALL: [Recogniser; count()] = {
    let mut all = [REGISTRY[0].1[0]; count()];
    let (mut n, mut i) = (0, 0);
    while i < REGISTRY.len() {
        let mut j = 0;
        while j < REGISTRY[i].1.len() {
            all[n] = REGISTRY[i].1[j];
            n += 1;
            j += 1;
        }
        i += 1;
    }
    all
};

/// Per first byte, which recognisers to ask: bit `i` stands for `ALL[i]`.
static ASKED: [u128; 256] = {
    assert!(count() <= 128, "one bit for each");
    let mut asked = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut i = 0;
        while i < ALL.len() {
            if ALL[i].first.has(byte as u8) {
                asked[byte] |= 1 << i;
            }
            i += 1;
        }
        byte += 1;
    }
    asked
};

/// Asks every recogniser that may match these bytes. A decision remains valid whatever follows.
pub(super) fn identify(client: &[u8], server: &[u8]) -> Match {
    let mut asked = match client.first() {
        Some(byte) => ASKED[usize::from(*byte)],
        None => u128::MAX >> (128 - ALL.len()),
    };
    let mut best = Match::No;
    while asked != 0 {
        let recogniser = &ALL[asked.trailing_zeros() as usize];
        asked &= asked - 1;
        let found = (recogniser.recognise)(client, server);
        if found.is_decided() {
            return found;
        }
        if best == Match::No || found.is_named() && best == Match::More {
            best = found;
        }
    }
    best
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
