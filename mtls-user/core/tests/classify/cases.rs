//! Flows of every kind, each with its right verdict.

use mtls_core::record::{ClientCertificate, Evidence, Verdict};

use crate::flows::*;

/// A flow with its right verdict.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) script: Script,
    pub(crate) verdict: Verdict,
    pub(crate) evidence: Evidence,
    pub(crate) certificate: ClientCertificate,
    pub(crate) protocol: &'static str,
}

/// Flows of every kind.
pub(crate) fn cases() -> Vec<Case> {
    use ClientCertificate::{NotPresented, NotRequested, Presented, Refused, Unknown};
    use Evidence::{Certificates, FirstBytes, HandshakeShape, Upgrade};
    use Verdict::{Failed, Mtls, Opaque, Plaintext, Tls, TlsUnproven};
    let case = |name, script, verdict, evidence, certificate, protocol| Case {
        name,
        script,
        verdict,
        evidence,
        certificate,
        protocol,
    };
    let plain = Offer {
        sni: Some("api"),
        ..Offer::default()
    };
    let psk = Offer {
        psk: Some((200, 77)),
        ..plain
    };
    let early = Offer {
        early_data: true,
        ..psk
    };
    let openssl = Offer {
        openssl: true,
        ..plain
    };
    let raw_key = Offer {
        raw_key: true,
        ..plain
    };
    let settings = Offer {
        settings: true,
        ..plain
    };
    let http = "GET /items?id=1 HTTP/1.1\r\nHost: api\r\nUser-Agent: curl/8\r\n\r\n";
    let mut starttls = vec![
        s("220 mx ESMTP\r\n"),
        c("EHLO a\r\n"),
        s("250-mx\r\n250 STARTTLS\r\n"),
        c("STARTTLS\r\n"),
        s("220 go ahead\r\n"),
    ];
    starttls.extend(tls13(plain, false, &[1000, 281, 53]));
    let refused = vec![
        s("220 mx ESMTP\r\n"),
        c("EHLO a\r\n"),
        s("250-mx\r\n250 STARTTLS\r\n"),
        c("STARTTLS\r\n"),
        s("454 TLS not available\r\n"),
        // As openssl's s_client does.
        c(client_hello(plain)),
        s("500 5.5.2 Error: bad syntax\r\n"),
    ];
    let mut postgres = vec![c(*b"\0\0\0\x08\x04\xd2\x16\x2f"), s("S")];
    postgres.extend(tls12(Some(CLIENT_CERT)));
    vec![
        case(
            "a hello after a refusal",
            refused,
            Plaintext,
            Upgrade,
            Unknown,
            "smtp",
        ),
        case(
            "a hello to a server that speaks none",
            vec![
                c(client_hello(plain)),
                s("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            ],
            Plaintext,
            FirstBytes,
            Unknown,
            "http/1.1",
        ),
        case(
            "a hello that is echoed",
            vec![c(client_hello(plain)), s(client_hello(plain))],
            Opaque,
            FirstBytes,
            Unknown,
            "unknown",
        ),
        case(
            "1.3 mutual",
            tls13(plain, false, &[1000, 281, 53]),
            Mtls,
            HandshakeShape,
            Presented,
            "tls",
        ),
        case(
            "1.3 mutual in one record",
            tls13(plain, false, &[1301]),
            Mtls,
            HandshakeShape,
            Presented,
            "tls",
        ),
        case(
            "1.3 mutual, a multiple of 16",
            tls13(plain, false, &[1040, 281, 53]),
            Mtls,
            HandshakeShape,
            Presented,
            "tls",
        ),
        case(
            "1.3 not asked",
            tls13(plain, false, &[53]),
            Tls,
            HandshakeShape,
            NotRequested,
            "tls",
        ),
        case(
            "1.3 not given",
            tls13(plain, false, &[25, 53]),
            Tls,
            HandshakeShape,
            NotPresented,
            "tls",
        ),
        case(
            "1.3 mbedTLS, not given",
            tls13(plain, false, &[32, 64]),
            Tls,
            HandshakeShape,
            NotPresented,
            "tls",
        ),
        case(
            "1.3 padded",
            tls13_with_request(plain, false, &[528, 528, 528], 528),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 padded to a block of any size",
            tls13_with_request(plain, false, &[216], 416),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 OpenSSL, the handshake padded apart",
            tls13(openssl, false, &[528]),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 OpenSSL, the handshake padded apart, then data as long as a Finished",
            tls13_with_request(openssl, false, &[216], 53),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 OpenSSL, mutual",
            tls13(openssl, false, &[869, 96, 53]),
            Mtls,
            HandshakeShape,
            Presented,
            "tls",
        ),
        case(
            "1.3 a raw public key",
            tls13(raw_key, false, &[121, 96, 69]),
            Mtls,
            HandshakeShape,
            Presented,
            "tls",
        ),
        case(
            "1.3 lengths of a raw public key that was not offered",
            tls13(plain, false, &[121, 96, 69]),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 application settings, not asked",
            tls13(settings, false, &[63]),
            Tls,
            HandshakeShape,
            NotRequested,
            "tls",
        ),
        case(
            "1.3 application settings as long as a certificate",
            tls13(settings, false, &[887]),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 early data refused and gone on with",
            vec![
                c(client_hello(early)),
                c([ccs(), sealed(1300)].concat()),
                s(server_flight_13(false)),
                c([sealed(3017), sealed(53), sealed(90)].concat()),
                s([sealed(250), sealed(1200)].concat()),
            ],
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 early data refused, mutual",
            vec![
                c(client_hello(early)),
                c([ccs(), sealed(1300)].concat()),
                s(server_flight_13(false)),
                c([sealed(869), sealed(96), sealed(53), sealed(90)].concat()),
                s([sealed(250), sealed(1200)].concat()),
            ],
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 resumed",
            tls13(psk, true, &[53]),
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 the client's alert",
            vec![
                c(client_hello(plain)),
                s(server_flight_13(false)),
                c(sealed(19)),
            ],
            Failed,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.3 refused",
            vec![
                c(client_hello(plain)),
                s(server_flight_13(false)),
                c([ccs(), sealed(1000), sealed(281), sealed(53)].concat()),
                s(sealed(19)),
            ],
            Failed,
            HandshakeShape,
            Refused,
            "tls",
        ),
        case(
            "1.3 after a retry",
            vec![
                c(client_hello(plain)),
                s(retry()),
                c([ccs(), client_hello(plain)].concat()),
                s(server_flight_13(false)),
                c([sealed(1000), sealed(281), sealed(53), sealed(90)].concat()),
                s([sealed(250), sealed(1200)].concat()),
            ],
            Mtls,
            HandshakeShape,
            Presented,
            "tls",
        ),
        case(
            "1.3 early data refused",
            vec![
                c(client_hello(early)),
                c([ccs(), sealed(1300), sealed(700)].concat()),
                s(server_flight_13(false)),
                c([sealed(53), sealed(90)].concat()),
                s([sealed(250), sealed(1200)].concat()),
            ],
            Tls,
            HandshakeShape,
            NotRequested,
            "tls",
        ),
        case(
            "1.2 mutual",
            tls12(Some(CLIENT_CERT)),
            Mtls,
            Certificates,
            Presented,
            "tls",
        ),
        case(
            "1.2 not asked",
            tls12(None),
            Tls,
            Certificates,
            NotRequested,
            "tls",
        ),
        case(
            "1.2 not given",
            tls12(Some(&[])),
            Tls,
            Certificates,
            NotPresented,
            "tls",
        ),
        case(
            "1.2 resumed",
            vec![
                c(client_hello(Offer {
                    tls12: true,
                    ticket: Some(&[9; 160]),
                    ..plain
                })),
                s([
                    record(22, &server_hello(&noise(32), &[], 0xc02b, &[])),
                    server_end_12(None),
                ]
                .concat()),
                c([ccs(), record(22, &noise(40)), sealed(100)].concat()),
                s(sealed(500)),
            ],
            TlsUnproven,
            HandshakeShape,
            Unknown,
            "tls",
        ),
        case(
            "1.2 refused",
            vec![
                c(client_hello(Offer {
                    tls12: true,
                    ..plain
                })),
                s(server_flight_12(&[], true)),
                c(client_flight_12(Some(CLIENT_CERT))),
                s(record(21, &[2, 48])),
            ],
            Failed,
            Certificates,
            Refused,
            "tls",
        ),
        case(
            "no common version",
            vec![c(client_hello(plain)), s(record(21, &[2, 70]))],
            Failed,
            FirstBytes,
            Unknown,
            "tls",
        ),
        case(
            "SMTP, then TLS",
            starttls,
            Mtls,
            HandshakeShape,
            Presented,
            "smtp",
        ),
        case(
            "PostgreSQL, then TLS",
            postgres,
            Mtls,
            Certificates,
            Presented,
            "postgresql",
        ),
        case(
            "PostgreSQL, refused",
            vec![
                c(*b"\0\0\0\x08\x04\xd2\x16\x2f"),
                s("N"),
                c(*b"\0\0\0\x13\0\x03\0\0user\0postgres\0\0"),
                s("R"),
            ],
            Plaintext,
            Upgrade,
            Unknown,
            "postgresql",
        ),
        case(
            "HTTP",
            vec![c(http), s("HTTP/1.1 200 OK\r\n\r\n")],
            Plaintext,
            FirstBytes,
            Unknown,
            "http/1.1",
        ),
        case(
            "Redis",
            vec![c("*1\r\n$4\r\nPING\r\n"), s("+PONG\r\n")],
            Plaintext,
            FirstBytes,
            Unknown,
            "redis",
        ),
        case(
            "text",
            vec![c("hello, is anybody there?\n"), s("yes\n")],
            Plaintext,
            FirstBytes,
            Unknown,
            "unknown",
        ),
        case(
            "noise",
            vec![c(noise(300)), s(noise(200))],
            Opaque,
            FirstBytes,
            Unknown,
            "unknown",
        ),
    ]
}
