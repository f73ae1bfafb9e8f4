//! What a flow contained: a TLS handshake, certificates, plaintext HTTP.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{ClientCertificate, Time, Validity, Word, nullable};

/// What a TLS handshake contained.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsInfo {
    /// `1.3`, `1.2`, …; `3.0` is written `ssl3`, a draft as `1.3-draft23`.
    pub version: Option<SmolStr>,
    /// The highest version that the client offered.
    pub version_offered: Option<SmolStr>,
    /// IANA name of the cipher suite the server chose.
    pub cipher: Option<SmolStr>,
    /// Named group of the key exchange (1.3).
    pub group: Option<SmolStr>,
    /// Groups that the client offered, in its order.
    pub groups_offered: Arc<[SmolStr]>,
    /// Server name the client asked for, escaped.
    pub sni: Option<SmolStr>,
    /// Protocol the server chose (≤ 1.2), or the only one offered (1.3 encrypts the choice).
    pub alpn: Option<SmolStr>,
    /// Protocols the client offered.
    pub alpn_offered: Arc<[SmolStr]>,
    /// Whether the session was resumed; `None` if that is not known.
    pub resumed: Option<bool>,
    /// Whether a pre-shared key was used that is not a resumption.
    pub external_psk: bool,
    /// Seconds since the original handshake of a resumed session, if it was seen.
    #[serde(rename = "session_age_seconds")]
    pub session_age: Option<u64>,
    /// What is known of the client's certificate.
    pub client_certificate: Word<ClientCertificate>,
    /// The client's name: SPIFFE id, else SAN, else subject, of its certificate.
    pub client_identity: Option<SmolStr>,
    /// The server's name, from its certificate, or from the SNI if a mesh writes it there.
    pub server_identity: Option<SmolStr>,
    /// The mesh whose fingerprint the handshake has.
    pub mesh: Option<SmolStr>,
    /// Whether application data was seen after both Finished messages.
    pub completed: Option<bool>,
    /// Name of the alert that ended the handshake, if visible.
    pub alert: Option<SmolStr>,
    /// Whether Encrypted ClientHello was offered: the SNI is the outer one.
    pub ech: bool,
    /// The client offered early data (0-RTT).
    pub early_data: bool,
    /// Whether the client can authenticate after the handshake, which cannot be seen on the wire.
    pub post_handshake_auth: bool,
    /// JA4 fingerprint of the ClientHello.
    pub ja4: Option<SmolStr>,
    /// The client's certificate, if it is visible.
    pub client_cert: Option<Box<CertificateInfo>>,
    /// The server's certificate, if it is visible.
    pub server_cert: Option<Box<CertificateInfo>>,
}

/// The contents of a visible certificate.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CertificateInfo {
    /// Subject, in RFC 4514 order; empty (null in JSON) if the certificate has none.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<SmolStr>")]
    pub subject: SmolStr,
    /// Issuer, in the same form.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<SmolStr>")]
    pub issuer: SmolStr,
    /// Subject alternative names, with their kind: `dns:…`, `uri:…`, `ip:…`, `email:…`.
    pub sans: Arc<[SmolStr]>,
    /// SPIFFE id, if a URI SAN is one.
    pub spiffe_id: Option<SmolStr>,
    /// Start of its validity.
    pub not_before: Time,
    /// End of its validity.
    pub not_after: Time,
    /// Whether it was valid at the time of the handshake.
    pub validity: Word<Validity>,
    /// `rsa-2048`, `ecdsa-p256`, `ed25519`, …
    pub key: SmolStr,
    /// The serial number, in hexadecimal; null in records of earlier versions.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<SmolStr>")]
    pub serial: SmolStr,
    /// SHA-256 of the whole certificate, in hexadecimal; null in records of earlier versions.
    #[serde(with = "nullable")]
    #[schemars(with = "Option<SmolStr>")]
    pub sha256: SmolStr,
}

/// What plaintext HTTP contained: the first exchange of the flow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
    pub user_agent: Option<SmolStr>,
}
