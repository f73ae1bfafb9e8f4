//! Flows made by hand, byte by byte, and the ways to deliver them.

use mtls_user::classify::{Classifier, Context, Finding, Piece, Progress, Sessions, Side};
use mtls_user::verdict::{ClientCertificate, Evidence, Origin, Verdict};
use mtls_user::wire::Endpoint;

/// What is sent, in order: by whom, and which bytes. Each acknowledges all that came before it.
pub(crate) type Script = Vec<(Side, Vec<u8>)>;

pub(crate) const CLIENT_CERT: &[u8] = include_bytes!("client.der");
pub(crate) const SERVER_CERT: &[u8] = include_bytes!("server.der");

/// Nanoseconds since the Unix epoch: within the certificates' validity.
pub(crate) const NOW: u64 = 1_893_456_000_000_000_000;

pub(crate) fn c(bytes: impl Into<Vec<u8>>) -> (Side, Vec<u8>) {
    (Side::Client, bytes.into())
}

pub(crate) fn s(bytes: impl Into<Vec<u8>>) -> (Side, Vec<u8>) {
    (Side::Server, bytes.into())
}

pub(crate) fn vec16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

pub(crate) fn vec24(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[1..], body].concat()
}

pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vec16(body)].concat()
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vec24(body)].concat()
}

/// Bytes that look like ciphertext.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32 ^ len as u32;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

/// An encrypted record with a body of this length.
pub(crate) fn sealed(len: u16) -> Vec<u8> {
    record(23, &noise(len.into()))
}

pub(crate) fn ccs() -> Vec<u8> {
    record(20, &[1])
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(body)].concat()
}

/// What a ClientHello offers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Offer<'a> {
    pub(crate) tls12: bool,
    pub(crate) sni: Option<&'a str>,
    pub(crate) alpn: &'a [&'a str],
    pub(crate) session_id: &'a [u8],
    pub(crate) ticket: Option<&'a [u8]>,
    /// Length of a ticket, and its age.
    pub(crate) psk: Option<(u16, u32)>,
    pub(crate) early_data: bool,
    pub(crate) post_handshake_auth: bool,
}

pub(crate) fn client_hello(offer: Offer<'_>) -> Vec<u8> {
    let mut extensions = extension(0x0a0a, &[]);
    if let Some(sni) = offer.sni {
        let name = [&[0][..], &vec16(sni.as_bytes())].concat();
        extensions.extend(extension(0, &vec16(&name)));
    }
    if !offer.alpn.is_empty() {
        let list: Vec<u8> = offer
            .alpn
            .iter()
            .flat_map(|p| std::iter::once(p.len() as u8).chain(p.bytes()))
            .collect();
        extensions.extend(extension(16, &vec16(&list)));
    }
    extensions.extend(extension(13, &vec16(&[4, 3, 8, 4])));
    if let Some(ticket) = offer.ticket {
        extensions.extend(extension(35, ticket));
    }
    if !offer.tls12 {
        extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
        extensions.extend(extension(51, &vec16(&noise(36))));
    }
    if offer.early_data {
        extensions.extend(extension(42, &[]));
    }
    if offer.post_handshake_auth {
        extensions.extend(extension(49, &[]));
    }
    if let Some((len, age)) = offer.psk {
        let identity = [&vec16(&noise(len.into()))[..], &age.to_be_bytes()].concat();
        let binder = [&[32][..], &noise(32)].concat();
        extensions.extend(extension(41, &[vec16(&identity), vec16(&binder)].concat()));
    }
    let mut body = vec![3, 3];
    body.extend(noise(32));
    body.push(offer.session_id.len() as u8);
    body.extend(offer.session_id);
    body.extend(vec16(&[0x13, 0x02, 0x13, 0x01, 0xc0, 0x2b]));
    body.extend([1, 0]);
    body.extend(vec16(&extensions));
    record(22, &message(1, &body))
}

pub(crate) fn server_hello(
    random: &[u8],
    session_id: &[u8],
    cipher: u16,
    extensions: &[u8],
) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random);
    body.push(session_id.len() as u8);
    body.extend(session_id);
    body.extend(cipher.to_be_bytes());
    body.push(0);
    body.extend(vec16(extensions));
    message(2, &body)
}

/// A TLS 1.3 ServerHello, its flight behind it.
pub(crate) fn server_flight_13(psk: bool) -> Vec<u8> {
    let mut extensions = extension(43, &[3, 4]);
    extensions.extend(extension(51, &[0, 0x1d, 0, 4, 1, 2, 3, 4]));
    if psk {
        extensions.extend(extension(41, &[0, 0]));
    }
    let hello = record(22, &server_hello(&noise(32), &[], 0x1301, &extensions));
    [
        hello,
        ccs(),
        sealed(30),
        sealed(900),
        sealed(281),
        sealed(53),
    ]
    .concat()
}

/// A HelloRetryRequest.
pub(crate) fn retry() -> Vec<u8> {
    const RANDOM: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
        0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
        0x33, 0x9c,
    ];
    let extensions = [extension(43, &[3, 4]), extension(51, &[0, 0x18])].concat();
    [
        record(22, &server_hello(&RANDOM, &[], 0x1301, &extensions)),
        ccs(),
    ]
    .concat()
}

fn certificates(der: &[u8]) -> Vec<u8> {
    message(
        11,
        &vec24(&if der.is_empty() {
            Vec::new()
        } else {
            vec24(der)
        }),
    )
}

/// A TLS 1.2 server's flight of a full handshake.
pub(crate) fn server_flight_12(session_id: &[u8], requests: bool) -> Vec<u8> {
    let mut flight = server_hello(
        &noise(32),
        session_id,
        0xc02b,
        &extension(16, b"\0\x03\x02h2"),
    );
    flight.extend(certificates(SERVER_CERT));
    flight.extend(message(12, &noise(140)));
    if requests {
        flight.extend(message(13, &noise(40)));
    }
    flight.extend(message(14, &[]));
    record(22, &flight)
}

/// A TLS 1.2 client's answer: with a certificate, without one although asked, or not asked.
pub(crate) fn client_flight_12(certificate: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(der) = certificate {
        out.extend(record(22, &certificates(der)));
    }
    out.extend(record(22, &message(16, &noise(66))));
    if certificate.is_some_and(|der| !der.is_empty()) {
        out.extend(record(22, &message(15, &noise(76))));
    }
    out.extend(ccs());
    out.extend(record(22, &noise(40)));
    out
}

/// The end of a TLS 1.2 server's handshake, with a session ticket where there is one.
pub(crate) fn server_end_12(ticket: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(ticket) = ticket {
        let body = [&[0, 0, 28, 32][..], &vec16(ticket)].concat();
        out.extend(record(22, &message(4, &body)));
    }
    out.extend(ccs());
    out.extend(record(22, &noise(40)));
    out
}

/// A TLS 1.3 connection whose client sends records of these lengths.
pub(crate) fn tls13(offer: Offer<'_>, psk: bool, records: &[u16]) -> Script {
    let flight: Vec<u8> = records.iter().flat_map(|len| sealed(*len)).collect();
    vec![
        c(client_hello(offer)),
        s(server_flight_13(psk)),
        c([ccs(), flight].concat()),
        c(sealed(200)),
        s([sealed(250), sealed(250)].concat()),
        s(sealed(1200)),
    ]
}

/// A TLS 1.2 connection.
pub(crate) fn tls12(certificate: Option<&[u8]>) -> Script {
    vec![
        c(client_hello(Offer {
            tls12: true,
            sni: Some("api.shop.svc"),
            ..Offer::default()
        })),
        s(server_flight_12(&[], certificate.is_some())),
        c(client_flight_12(certificate)),
        s(server_end_12(None)),
        c(sealed(200)),
        s(sealed(1200)),
    ]
}

/// A flow, and what it is.
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
            tls13(plain, false, &[528, 528, 528]),
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

/// A step of a delivery.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Piece {
        side: Side,
        offset: u64,
        bytes: Vec<u8>,
        ack: u64,
    },
    Fin {
        side: Side,
        length: u64,
        ack: u64,
    },
}

/// The script as segments of at most `mss` bytes, closed by both sides at the end.
pub(crate) fn deliver(script: &Script, mss: usize) -> Vec<Step> {
    let mut sent = [0u64; 2];
    let mut steps = Vec::new();
    for (side, bytes) in script {
        let ack = sent[side.other() as usize];
        for chunk in bytes.chunks(mss) {
            let offset = sent[*side as usize];
            sent[*side as usize] += chunk.len() as u64;
            steps.push(Step::Piece {
                side: *side,
                offset,
                bytes: chunk.to_vec(),
                ack,
            });
        }
    }
    // The server, which has the last word, closes first.
    let [client, server] = sent;
    steps.push(Step::Fin {
        side: Side::Server,
        length: server,
        ack: client,
    });
    steps.push(Step::Fin {
        side: Side::Client,
        length: client,
        ack: server + 1,
    });
    steps
}

pub(crate) fn endpoints() -> (Endpoint, Endpoint) {
    (
        Endpoint::new([10, 0, 0, 1].into(), 40_000),
        Endpoint::new([10, 0, 0, 7].into(), 8443),
    )
}

/// Gives one step to a classifier.
pub(crate) fn give(
    classifier: &mut Classifier,
    step: &Step,
    time: u64,
    sessions: &mut Sessions,
) -> Progress {
    let (client, server) = endpoints();
    let mut context = Context {
        client,
        server,
        sessions,
    };
    match step {
        Step::Piece {
            side,
            offset,
            bytes,
            ack,
        } => {
            let (offset, len, ack) = (*offset, bytes.len() as u32, Some(*ack));
            classifier.segment(
                *side,
                Piece {
                    offset,
                    len,
                    bytes,
                    ack,
                    time,
                },
                &mut context,
            )
        }
        Step::Fin { side, length, ack } => {
            classifier.fin(*side, *length, Some(*ack), time, &mut context)
        }
    }
}

/// Gives all steps to a new classifier and ends the flow; every verdict on the way comes with it.
pub(crate) fn run_at(
    steps: &[Step],
    time: u64,
    sessions: &mut Sessions,
) -> (Finding, Vec<Verdict>) {
    let mut classifier = Classifier::new(Origin::Syn);
    let mut way = vec![classifier.verdict()];
    for step in steps {
        let progress = give(&mut classifier, step, time, sessions);
        let verdict = classifier.verdict();
        if Some(&verdict) != way.last() {
            let silent = way.last() == Some(&Verdict::NoData) && verdict == Verdict::Unobserved;
            assert!(
                silent || progress == Progress::Changed,
                "{verdict} in silence"
            );
            way.push(verdict);
        }
    }
    let (client, server) = endpoints();
    classifier.finish(
        false,
        &mut Context {
            client,
            server,
            sessions,
        },
    );
    (classifier.finding(), way)
}

/// As [`run_at`], alone in the world.
pub(crate) fn run(steps: &[Step]) -> (Finding, Vec<Verdict>) {
    run_at(steps, NOW, &mut Sessions::default())
}
