//! TLS parameters per workload: the output of `mtls inventory`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::word::vocabulary;
use super::{
    CertificateInfo, History, List, Nodes, Peer, SCHEMA, Side, Tally, Time, Transport, Watched,
    Word,
};

vocabulary! {
    /// The property of a connection that a policy checks.
    Aspect {
        /// Whether it is TLS at all.
        Encryption = "encryption",
        /// The version of TLS.
        Version = "tls-version",
        /// The cipher suite.
        Cipher = "cipher",
        /// The group of the key exchange.
        Group = "group",
        /// The key of the certificate.
        Key = "key",
        /// The dates of the certificate.
        Validity = "validity",
    }
}

/// Key exchanges by whether they resist a quantum computer, and which side prevents that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PostQuantum {
    /// Connections with a post-quantum group.
    pub used: u64,
    /// Connections without one, because the client offered none.
    pub held_back_by_client: u64,
    /// Connections without one, although the client offered one.
    pub held_back_by_server: u64,
    /// Connections whose offer or choice was not seen, or that had no key exchange.
    pub unknown: u64,
}

impl PostQuantum {
    /// Connections without a post-quantum group.
    pub fn held_back(&self) -> u64 {
        self.held_back_by_client + self.held_back_by_server
    }
}

/// What is below a policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Below {
    /// The property of the connections.
    pub aspect: Word<Aspect>,
    /// What was seen: `1.2`, `x25519`, `rsa-1024`, …
    pub value: SmolStr,
    /// The side that prevents the policy from being met; null if that cannot be determined.
    #[serde(default)]
    pub held_back_by: Option<Word<Side>>,
    /// How many connections.
    pub connections: u64,
}

/// What one workload was seen to use, as a client or as the server of a port.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryItem {
    /// Version of the schema.
    pub schema: u32,
    /// The workload.
    pub workload: Peer,
    /// Its role: client or server.
    pub role: Word<Side>,
    /// The server's port; null for a client, which connects to many.
    pub port: Option<u16>,
    /// The transport protocol.
    pub transport: Word<Transport>,
    /// Connections that are not exempt, plus exempt ones that use TLS.
    pub connections: u64,
    /// Those of them that use TLS.
    pub tls_connections: u64,
    /// Application protocols; `tls`, `quic` and `dtls` if they are encrypted.
    pub protocols: Tally,
    /// Versions of TLS.
    pub tls_versions: Tally,
    /// The highest versions that clients offered.
    pub versions_offered: Tally,
    /// Cipher suites.
    pub ciphers: Tally,
    /// Groups of the key exchange; not determined for TLS 1.2 and earlier.
    pub groups: Tally,
    /// Groups that clients offered, with how many connections offered each.
    pub groups_offered: Tally,
    /// Whether the key exchanges resist a quantum computer.
    pub post_quantum: PostQuantum,
    /// The workload's own identities.
    pub identities: Tally,
    /// SPIFFE ids among the identities.
    pub spiffe_ids: Tally,
    /// Key types of its certificates, by connection.
    pub key_types: Tally,
    /// Issuers of its certificates, by connection.
    pub issuers: Tally,
    /// Days until the first of its certificates expires, negative if one has; null if none was
    /// visible.
    pub days_left: Option<i64>,
    /// Connections in which it sent, or may have sent, an encrypted certificate (TLS 1.3), about
    /// which nothing is known.
    pub certificates_hidden: u64,
    /// What is below the policy.
    pub below: Vec<Below>,
    /// Connections that the policy cannot judge, by what could not be seen of them.
    pub not_judged: BTreeMap<Word<Aspect>, u64>,
    /// The first packet of any of the connections.
    pub first_seen: Time,
    /// The last packet seen of any of them.
    pub last_seen: Time,
}

impl Default for InventoryItem {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            workload: Peer::default(),
            role: Side::Server.into(),
            port: None,
            transport: Word::default(),
            connections: 0,
            tls_connections: 0,
            protocols: Tally::default(),
            tls_versions: Tally::default(),
            versions_offered: Tally::default(),
            ciphers: Tally::default(),
            groups: Tally::default(),
            groups_offered: Tally::default(),
            post_quantum: PostQuantum::default(),
            identities: Tally::default(),
            spiffe_ids: Tally::default(),
            key_types: Tally::default(),
            issuers: Tally::default(),
            days_left: None,
            certificates_hidden: 0,
            below: Vec::new(),
            not_judged: BTreeMap::new(),
            first_seen: Time::default(),
            last_seen: Time::default(),
        }
    }
}

/// A certificate that crossed the wire unencrypted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CertificateSeen {
    /// Version of the schema.
    pub schema: u32,
    /// Its contents.
    pub certificate: CertificateInfo,
    /// Days until it expires, counted from the time of the answer; negative if it has expired.
    pub days_left: i64,
    /// Connections in which it was sent.
    pub connections: u64,
    /// The workloads that sent it, with their roles; at most 16.
    pub shown_by: Vec<Shown>,
    /// Number of further workloads.
    pub others: u64,
    /// When it was last sent.
    pub last_seen: Time,
}

/// A workload that sent a certificate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The workload.
    pub workload: Peer,
    /// Its role in the connection.
    pub role: Word<Side>,
}

/// What an inventory cannot include, because it is encrypted on the wire or was not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NotVisible {
    /// TLS 1.3 connections: their certificates are encrypted.
    pub certificates: u64,
    /// TLS connections of 1.2 and earlier, whose key exchange group is not determined.
    pub groups: u64,
    /// TLS connections whose hellos were not seen: it is only known that they are TLS.
    pub hellos: u64,
    /// Connections about which nothing can be determined.
    pub unobserved: u64,
}

/// The TLS parameters of the connections of a node, of a cluster or of a capture.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// Version of the schema.
    pub schema: u32,
    /// The node; null if there are several or none.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// When it was made.
    pub generated: Time,
    /// Seconds for which a closed connection counts; 0 for a capture.
    #[serde(default)]
    pub window_seconds: u64,
    /// Which nodes answered, if all were queried; null for a single node.
    #[serde(default)]
    pub nodes: Option<Nodes>,
    /// How much could be seen; null for a capture.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// How far back it reaches; null for a capture, which is complete.
    #[serde(default)]
    pub history: Option<History>,
    /// The policy that it was compared with; null if none was.
    #[serde(default)]
    pub policy: Option<SmolStr>,
    /// Connections that it covers, each counted once.
    #[serde(default)]
    pub connections: u64,
    /// Those of them that use TLS.
    #[serde(default)]
    pub tls_connections: u64,
    /// Exempt connections without TLS, which are left out.
    #[serde(default)]
    pub exempt: u64,
    /// Connections with something below the policy.
    #[serde(default)]
    pub below: u64,
    /// Connections that the policy cannot judge in full, and that are not known to be below it.
    #[serde(default)]
    pub not_judged: u64,
    /// Whether the key exchanges resist a quantum computer.
    #[serde(default)]
    pub post_quantum: PostQuantum,
    /// What is not visible.
    #[serde(default)]
    pub not_visible: NotVisible,
    /// The certificates that were seen, by expiry date.
    #[serde(default)]
    pub certificates: Vec<CertificateSeen>,
    /// The workloads, each as a client and as the server of each port.
    pub items: Vec<InventoryItem>,
}

/// The certificates alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CertificateList {
    /// The certificates, by expiry date.
    #[serde(flatten)]
    pub list: List<CertificateSeen>,
    /// What is not visible: with TLS 1.3, no certificate is.
    #[serde(default)]
    pub not_visible: NotVisible,
}
