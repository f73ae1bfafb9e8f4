//! Flows built by hand, byte by byte, and the ways to deliver them.

use mtls_core::classify::{Classifier, Context, Finding, Piece, Progress, Sessions, Side};
use mtls_core::record::{Origin, Verdict};
use mtls_core::wire::Endpoint;

/// What is sent, in order: by which side, and which bytes. Each acknowledges everything before it.
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

/// The offers in a ClientHello.
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
    /// OpenSSL's order of extensions.
    pub(crate) openssl: bool,
    /// A raw public key as the client's certificate.
    pub(crate) raw_key: bool,
    /// Application settings for HTTP/2.
    pub(crate) settings: bool,
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
    if offer.raw_key {
        extensions.extend(extension(19, &[2, 2, 0]));
    }
    if offer.settings {
        extensions.extend(extension(17613, &vec16(b"\x02h2")));
    }
    if let Some(ticket) = offer.ticket {
        extensions.extend(extension(35, ticket));
    }
    extensions.extend(extension(13, &vec16(&[4, 3, 8, 4])));
    if !offer.tls12 {
        extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
        if offer.openssl {
            extensions.extend(extension(45, &[1, 1]));
        }
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

/// A TLS 1.3 ServerHello, followed by its flight.
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

/// A TLS 1.2 client's reply: with a certificate, without one although requested, or not requested.
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

/// The end of a TLS 1.2 server's handshake, optionally with a session ticket.
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
    tls13_with_request(offer, psk, records, 200)
}

/// Like [`tls13`], with the client's application data in one record of `request` bytes.
pub(crate) fn tls13_with_request(
    offer: Offer<'_>,
    psk: bool,
    records: &[u16],
    request: u16,
) -> Script {
    let flight: Vec<u8> = records.iter().flat_map(|len| sealed(*len)).collect();
    vec![
        c(client_hello(offer)),
        s(server_flight_13(psk)),
        c([ccs(), flight].concat()),
        c(sealed(request)),
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
    // The server, which sends last, closes first.
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

/// Passes one step to a classifier.
pub(crate) fn give(
    classifier: &mut Classifier,
    step: &Step,
    time: u64,
    sessions: &mut Sessions,
) -> Progress {
    let (client, server) = endpoints();
    give_between((client, server), classifier, step, time, sessions)
}

/// The same for a connection between these ends.
fn give_between(
    (client, server): (Endpoint, Endpoint),
    classifier: &mut Classifier,
    step: &Step,
    time: u64,
    sessions: &mut Sessions,
) -> Progress {
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
                    inside: false,
                },
                &mut context,
            )
        }
        Step::Fin { side, length, ack } => classifier.fin(*side, *length, Some(*ack), &mut context),
    }
}

/// Passes all steps to a new classifier and ends the flow; also returns every intermediate verdict.
pub(crate) fn run_at(
    steps: &[Step],
    time: u64,
    sessions: &mut Sessions,
) -> (Finding, Vec<Verdict>) {
    run_between(endpoints(), steps, time, sessions)
}

/// The same for a connection between these ends.
pub(crate) fn run_between(
    (client, server): (Endpoint, Endpoint),
    steps: &[Step],
    time: u64,
    sessions: &mut Sessions,
) -> (Finding, Vec<Verdict>) {
    let mut classifier = Classifier::new(Origin::Syn);
    let mut way = vec![classifier.verdict()];
    for step in steps {
        let progress = give_between((client, server), &mut classifier, step, time, sessions);
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

/// Like [`run_at`], without other flows.
pub(crate) fn run(steps: &[Step]) -> (Finding, Vec<Verdict>) {
    run_at(steps, NOW, &mut Sessions::default())
}
