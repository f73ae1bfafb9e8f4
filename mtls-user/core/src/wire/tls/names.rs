//! IANA names of TLS numbers.

use smol_str::{SmolStr, format_smolstr};
use tls_parser::{TlsCipherAu, TlsCipherEnc, TlsCipherKx, TlsCipherSuite};

use super::hello::extension;

/// `1.3`, `1.2`, …, `ssl3`, `ssl2`, `1.3-draft23`.
pub fn version(version: u16) -> SmolStr {
    match version {
        // DTLS version numbers decrease.
        0x0002 => "ssl2".into(),
        0x0300 => "ssl3".into(),
        0x0301 | 0xfeff => "1.0".into(),
        0x0302 => "1.1".into(),
        0x0303 | 0xfefd => "1.2".into(),
        0x0304 | 0xfefc => "1.3".into(),
        v if v >> 8 == 0x7f => format_smolstr!("1.3-draft{}", v & 0xff),
        v => format_smolstr!("{v:#06x}"),
    }
}

/// The IANA name of a cipher suite; its number if it has none.
pub fn cipher(id: u16) -> SmolStr {
    TlsCipherSuite::from_id(id).map_or_else(
        || format_smolstr!("{id:#06x}"),
        |suite| SmolStr::new_static(suite.name),
    )
}

/// The number of a cipher suite, by its IANA name.
pub fn cipher_id(name: &str) -> Option<u16> {
    TlsCipherSuite::from_name(name).map(|suite| suite.id.0)
}

/// What a cipher suite implies about authentication and confidentiality.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CipherKind {
    /// Encrypted, authenticated by certificates (or an unknown suite).
    Ordinary,
    /// A pre-shared key authenticates.
    Psk,
    /// Nobody is authenticated.
    Anonymous,
    /// Nothing is encrypted.
    Null,
}

/// Bytes of a TLS 1.3 suite's hash (RFC 8446 §B.4).
pub fn hash_len(cipher: u16) -> Option<u16> {
    match cipher {
        0x1301 | 0x1303..=0x1305 => Some(32),
        0x1302 => Some(48),
        _ => None,
    }
}

/// Whether a suite is a TLS 1.3 suite without encryption (RFC 9150).
pub fn is_integrity_only(cipher: u16) -> bool {
    matches!(cipher, 0xc0b4 | 0xc0b5)
}

/// The kind of a cipher suite.
pub fn cipher_kind(id: u16) -> CipherKind {
    if is_integrity_only(id) {
        return CipherKind::Null;
    }
    let Some(suite) = TlsCipherSuite::from_id(id) else {
        return CipherKind::Ordinary;
    };
    if suite.enc == TlsCipherEnc::Null {
        CipherKind::Null
    } else if suite.kx == TlsCipherKx::Tls13 {
        CipherKind::Ordinary
    } else if suite.name.contains("_PSK_") || suite.name.contains("_SRP_") {
        CipherKind::Psk
    } else if suite.au == TlsCipherAu::Null || suite.name.contains("_anon_") {
        CipherKind::Anonymous
    } else {
        CipherKind::Ordinary
    }
}

/// Whether a TLS 1.3 suite has an eight-byte tag, where all others have sixteen:
/// `TLS_AES_128_CCM_8_SHA256`, and those of Magma (RFC 9367 §4.1).
pub fn has_short_tag(cipher: u16) -> bool {
    matches!(cipher, 0x1305 | 0xc104 | 0xc106)
}

/// The IANA name of a parsed extension.
pub fn extension(id: u16) -> SmolStr {
    match id {
        extension::SERVER_NAME => "server_name",
        extension::ALPN => "application_layer_protocol_negotiation",
        extension::SIGNATURE_ALGORITHMS => "signature_algorithms",
        extension::CLIENT_CERTIFICATE_TYPE => "client_certificate_type",
        extension::SESSION_TICKET => "session_ticket",
        extension::PRE_SHARED_KEY => "pre_shared_key",
        extension::EARLY_DATA => "early_data",
        extension::SUPPORTED_VERSIONS => "supported_versions",
        extension::POST_HANDSHAKE_AUTH => "post_handshake_auth",
        extension::ENCRYPTED_CLIENT_HELLO => "encrypted_client_hello",
        _ => return format_smolstr!("{id}"),
    }
    .into()
}

/// The IANA name of a named group.
pub fn group(id: u16) -> SmolStr {
    match id {
        0x0015 => "secp224r1",
        0x0016 => "secp256k1",
        0x0017 => "secp256r1",
        0x0018 => "secp384r1",
        0x0019 => "secp521r1",
        0x001a => "brainpoolP256r1",
        0x001b => "brainpoolP384r1",
        0x001c => "brainpoolP512r1",
        0x001d => "x25519",
        0x001e => "x448",
        0x001f => "brainpoolP256r1tls13",
        0x0020 => "brainpoolP384r1tls13",
        0x0021 => "brainpoolP512r1tls13",
        0x0029 => "curveSM2",
        0x0100 => "ffdhe2048",
        0x0101 => "ffdhe3072",
        0x0102 => "ffdhe4096",
        0x0103 => "ffdhe6144",
        0x0104 => "ffdhe8192",
        0x0200 => "MLKEM512",
        0x0201 => "MLKEM768",
        0x0202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        0x11ee => "curveSM2MLKEM768",
        0x6399 => "X25519Kyber768Draft00",
        0x639a => "SecP256r1Kyber768Draft00",
        _ => return format_smolstr!("{id:#06x}"),
    }
    .into()
}

/// Whether a group, given by its name, resists a quantum computer: ML-KEM (FIPS 203), alone or in a
/// hybrid, and its drafts.
pub fn is_post_quantum(group: &str) -> bool {
    group.contains("MLKEM") || group.contains("Kyber")
}

/// The name of an alert (RFC 8446 §6, and the older ones).
pub fn alert(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unknown_alert",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(version(0x0304), "1.3");
        assert_eq!(version(0x7f17), "1.3-draft23");
        assert_eq!(cipher(0x1301), "TLS_AES_128_GCM_SHA256");
        assert_eq!(cipher(0xfafa), "0xfafa");
        assert_eq!(group(0x11ec), "X25519MLKEM768");
        assert_eq!(cipher_id("TLS_AES_128_GCM_SHA256"), Some(0x1301));
        assert_eq!(cipher_id("AES128-SHA"), None);
        let post_quantum = |id| is_post_quantum(&group(id));
        assert!(
            [0x0200, 0x11ec, 0x11ed, 0x6399]
                .into_iter()
                .all(post_quantum)
        );
        assert!(
            ![0x0017, 0x001d, 0x0100, 0xfefe]
                .into_iter()
                .any(post_quantum)
        );
        assert_eq!(alert(116), "certificate_required");
    }

    #[test]
    fn kinds() {
        for (id, kind) in [
            (0x1301, CipherKind::Ordinary),
            (0xc02f, CipherKind::Ordinary),
            (0x00a8, CipherKind::Psk),
            (0xc035, CipherKind::Psk),
            (0x0034, CipherKind::Anonymous),
            (0xc018, CipherKind::Anonymous),
            (0x0002, CipherKind::Null),
            (0xc0b4, CipherKind::Null),
        ] {
            assert_eq!(cipher_kind(id), kind, "{}", cipher(id));
        }
    }
}
