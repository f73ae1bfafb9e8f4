//! The words of the answer: verdict, evidence, and what else is said of a flow.
//!
//! These types are the JSON schema ([`SCHEMA`]) of `mtls classify` and of the daemon alike.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Version of the JSON schema; goes up when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What a flow is. Never from absence: each one but `no-data` and `unobserved` has evidence.
///
/// The order is how much a flow of that kind worries: the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Readable by anyone on the path.
    Plaintext,
    /// Bytes that are neither TLS nor a protocol known here.
    Opaque,
    /// Samples were lost or never taken; nothing is claimed.
    Unobserved,
    /// TLS, but whether the client was authenticated cannot be told; the reason says why.
    TlsUnproven,
    /// TLS with the server alone authenticated.
    Tls,
    /// The handshake ended by an alert or a close: no application data was protected or exposed.
    Failed,
    /// The connection carried no payload.
    NoData,
    /// Both sides presented certificates.
    Mtls,
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Self; 8] = [
        Self::Plaintext,
        Self::Opaque,
        Self::Unobserved,
        Self::TlsUnproven,
        Self::Tls,
        Self::Failed,
        Self::NoData,
        Self::Mtls,
    ];

    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "mtls",
            Self::Tls => "tls",
            Self::TlsUnproven => "tls-unproven",
            Self::Plaintext => "plaintext",
            Self::Opaque => "opaque",
            Self::Failed => "failed",
            Self::NoData => "no-data",
            Self::Unobserved => "unobserved",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a verdict is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The certificates themselves, in clear (TLS 1.2 and before).
    Certificates,
    /// TLS 1.3: the lengths of the client's encrypted flight.
    HandshakeShape,
    /// A mesh's fingerprint: its own claim, weaker than the two above.
    Mesh,
    /// Resumption of a session whose verdict is known.
    Resumption,
    /// Record framing of a stream whose handshake was not seen.
    RecordFraming,
    /// An in-band upgrade, accepted or refused.
    Upgrade,
    /// The first bytes of the stream.
    FirstBytes,
}

impl Evidence {
    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::HandshakeShape => "handshake-shape",
            Self::Mesh => "mesh",
            Self::Resumption => "resumption",
            Self::RecordFraming => "record-framing",
            Self::Upgrade => "upgrade",
            Self::FirstBytes => "first-bytes",
        }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether the start of the connection was seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Seen from its SYN on.
    Syn,
    /// Older than the observation.
    #[default]
    Midstream,
}

/// What is known of the client's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// Not determinable, or not yet.
    #[default]
    Unknown,
    /// The server did not ask.
    NotRequested,
    /// Asked for, and the client answered with an empty list.
    NotPresented,
    /// Presented (and, as far as is visible, accepted).
    Presented,
    /// Presented or missing, and the server ended the handshake.
    Refused,
}

/// What carries a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a TLS handshake showed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsInfo {
    /// `1.3`, `1.2`, …; `3.0` is written `ssl3`, a draft as `1.3-draft23`.
    pub version: Option<SmolStr>,
    /// IANA name of the cipher suite the server chose.
    pub cipher: Option<SmolStr>,
    /// Named group of the key exchange (1.3).
    pub group: Option<SmolStr>,
    /// Server name the client asked for, escaped.
    pub sni: Option<SmolStr>,
    /// Protocol the server chose (≤ 1.2), or the only one offered (1.3 encrypts the choice).
    pub alpn: Option<SmolStr>,
    /// Protocols the client offered.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub alpn_offered: Arc<[SmolStr]>,
    /// The session was resumed; `None` where that is not known.
    pub resumed: Option<bool>,
    /// A pre-shared key that is no resumption.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub external_psk: bool,
    /// Seconds since the original handshake of a resumed session, where it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_age: Option<u64>,
    /// What is known of the client's certificate.
    pub client_certificate: ClientCertificate,
    /// The client's name: SPIFFE id, else SAN, else subject, of its certificate.
    pub client_identity: Option<SmolStr>,
    /// The server's name, from its certificate, or as a mesh writes it into the SNI.
    pub server_identity: Option<SmolStr>,
    /// The mesh whose fingerprint the handshake bears.
    pub mesh: Option<SmolStr>,
    /// Both Finished were seen to be followed by application data.
    pub completed: Option<bool>,
    /// Name of the alert that ended the handshake, where visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<SmolStr>,
    /// Encrypted ClientHello was offered: the SNI is the outer one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ech: bool,
    /// The client offered early data (0-RTT).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub early_data: bool,
    /// The client can authenticate after the handshake, which nothing on the wire would show.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub post_handshake_auth: bool,
    /// JA4 fingerprint of the ClientHello.
    pub ja4: Option<SmolStr>,
    /// The client's certificate, where it is visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<Box<CertificateInfo>>,
    /// The server's certificate, where it is visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cert: Option<Box<CertificateInfo>>,
}

/// What a visible certificate says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateInfo {
    /// Subject, RFC 4514 order.
    pub subject: SmolStr,
    /// Issuer.
    pub issuer: SmolStr,
    /// Subject alternative names, with their kind: `dns:…`, `uri:…`, `ip:…`, `email:…`.
    pub sans: Arc<[SmolStr]>,
    /// SPIFFE id, where a URI SAN is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<SmolStr>,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
    /// `valid`, `expired` or `not-yet-valid`, at the time of the handshake.
    pub validity: SmolStr,
    /// `rsa-2048`, `ecdsa-p256`, `ed25519`, …
    pub key: SmolStr,
}

/// What plaintext HTTP showed: the first exchange of the flow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpInfo {
    /// `GET`, …
    pub method: Option<SmolStr>,
    /// `Host` or `:authority`.
    pub authority: Option<SmolStr>,
    /// The path without its query.
    pub path: Option<SmolStr>,
    /// Status of the response.
    pub status: Option<u16>,
    /// Nanoseconds from the request's first byte to the response's first.
    pub latency_ns: Option<u64>,
    /// The client's user agent, product token only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<SmolStr>,
}

/// Bytes of payload per direction, from sequence numbers; `None` where that cannot be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// From the client to the server.
    pub client: Option<u64>,
    /// From the server to the client.
    pub server: Option<u64>,
}

/// One end of a flow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub ip: std::net::IpAddr,
    /// Its port.
    pub port: u16,
    /// Who that is, where the daemon knows.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

/// Who an address belongs to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// What the table shows: the workload's name (`web` for the pods of Deployment `web`), or the pod's, or the service's.
    pub name: SmolStr,
    /// Kubernetes namespace; empty where there is none.
    pub namespace: SmolStr,
    /// `pod`, `deployment`, …, `service`, `node`, `external`, `unknown`.
    pub kind: SmolStr,
    /// The pod's own name, where it is a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<SmolStr>,
    /// The pod's service account, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<SmolStr>,
    /// Seconds since the source of this name was last known to be right, when it is out of reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<u64>,
}

/// One flow: the line that `mtls classify` prints and `mtls tap` streams.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FlowRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The capture it came from, when several were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What carries it.
    #[serde(default)]
    pub transport: Transport,
    /// Stable identity of the connection on every interface it crosses: both ISNs, in hexadecimal; absent mid-stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SmolStr>,
    /// The client.
    pub src: Peer,
    /// The server.
    pub dst: Peer,
    /// What the flow is.
    pub verdict: Verdict,
    /// How that is known; absent for `no-data` and `unobserved`.
    pub evidence: Option<Evidence>,
    /// Why, in words.
    pub reason: SmolStr,
    /// `tls`, `http/1.1`, `postgresql`, …; `unknown`.
    pub protocol: SmolStr,
    /// Whether the start was seen.
    pub origin: Origin,
    /// What the handshake showed.
    pub tls: Option<Box<TlsInfo>>,
    /// What plaintext HTTP showed.
    pub http: Option<HttpInfo>,
    /// Payload bytes.
    pub bytes: Bytes,
    /// Nanoseconds since the Unix epoch of the first packet seen.
    pub first_seen: u64,
    /// Nanoseconds since the Unix epoch of the last packet seen (of a flow sampled in the kernel: the last event).
    pub last_seen: u64,
    /// The connection was seen to end.
    pub closed: bool,
    /// Interfaces of this node it was seen on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<u32>,
    /// Things worth an operator's eye that do not change the verdict (`identity-mismatch: …`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
