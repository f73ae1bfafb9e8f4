//! What hostile or unusual pairs of stacks send to look more secure, or less readable, than they are.

use mtls_core::record::{Cause, ClientCertificate, Verdict};

use super::flows::*;

fn found(script: &Script) -> mtls_core::classify::Finding {
    run(&deliver(script, 1448)).0
}

/// A server may send data before it has read the client's flight (RFC 8446 §4.4.4); that is no
/// acceptance.
#[test]
fn data_before_the_clients_flight_accepts_nothing() {
    let early = s([server_flight_13(false), sealed(1200), sealed(700)].concat());
    let flight = c([ccs(), sealed(887), sealed(96), sealed(53)].concat());
    let hello = c(client_hello(Offer::default()));
    let refused = vec![hello.clone(), early.clone(), flight.clone(), s(sealed(19))];
    let refused = found(&refused);
    assert_eq!(refused.verdict, Verdict::Failed, "{}", refused.reason);
    // Nothing after the flight: closed without a word.
    let silent = found(&vec![hello.clone(), early.clone(), flight.clone()]);
    assert_ne!(silent.verdict, Verdict::Mtls, "{}", silent.reason);
    let accepted = found(&vec![hello, early, flight, s(sealed(250))]);
    assert_eq!(accepted.verdict, Verdict::Mtls, "{}", accepted.reason);
}

/// A PROXY header with 60 KB of TLVs, of which only the start is delivered by the kernel.
#[test]
fn a_long_proxy_header_hides_nothing() {
    let proxy = |body: &[u8]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        header.extend(vec16(body));
        header
    };
    let mut body = vec![10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0x20, 0xfb];
    body.push(0xee);
    body.extend(vec16(&vec![b'a'; 60_000]));
    let tls = tls13(Offer::default(), false, &[887, 96, 53]);
    let mut mutual = vec![c(proxy(&body))];
    mutual.extend(tls.clone());
    let mutual = found(&mutual);
    assert_eq!(mutual.verdict, Verdict::Mtls, "{}", mutual.reason);
    let http = "GET / HTTP/1.1\r\nHost: db\r\n\r\n";
    let plain = found(&vec![
        c(proxy(&body)),
        c(http),
        s("HTTP/1.1 200 OK\r\n\r\n"),
    ]);
    assert_eq!(plain.verdict, Verdict::Plaintext, "{}", plain.reason);
    // A hello inside the header is not the connection's.
    let mut decoy = vec![10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0x20, 0xfb, 0xee];
    decoy.extend(vec16(&client_hello(Offer::default())));
    let decoy = found(&vec![
        c(proxy(&decoy)),
        c(http),
        s("HTTP/1.1 200 OK\r\n\r\n"),
    ]);
    assert_eq!(decoy.verdict, Verdict::Plaintext, "{}", decoy.reason);
}

/// HTTP/2 with prior knowledge, cut anywhere.
#[test]
fn http2_in_any_segments_is_plaintext() {
    let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
    let headers = b"\0\0\x0a\x01\x05\0\0\0\x01\x82\x86\x84\x41\x05api.x";
    let script = vec![
        c([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], settings, headers].concat()),
        s([
            &settings[..],
            b"\0\0\0\x04\x01\0\0\0\0",
            b"\0\0\x01\x01\x05\0\0\0\x01\x88",
        ]
        .concat()),
    ];
    for mss in 1..80 {
        let (found, way) = run(&deliver(&script, mss));
        assert_eq!(found.verdict, Verdict::Plaintext, "{mss}: {}", found.reason);
        assert_eq!(found.protocol, "http/2", "in segments of {mss}");
        let fits = |v: &Verdict| {
            matches!(
                v,
                Verdict::Plaintext | Verdict::Unobserved | Verdict::NoData
            )
        };
        assert!(way.iter().all(fits), "{mss}: {way:?}");
    }
}

/// A further subflow of MPTCP carries a part of a TLS stream, from the middle of a record.
#[test]
fn a_further_subflow_is_opaque() {
    let stream = [sealed(1200), sealed(900), sealed(1300)].concat();
    for from in [1, 3, 5, 300, 1203] {
        let found = found(&vec![c(&stream[from..]), s(&stream[from..])]);
        let known = matches!(
            found.verdict,
            Verdict::Opaque | Verdict::TlsUnproven | Verdict::Unobserved
        );
        assert!(known, "from {from}: {} ({})", found.verdict, found.reason);
    }
}

/// Readable bytes in records that should be encrypted, after a good handshake.
#[test]
fn text_inside_records_is_never_mutual() {
    let mut script = tls13(Offer::default(), false, &[887, 96, 53]);
    let text = "GET /secret HTTP/1.1\r\nHost: db\r\nAuthorization: Bearer abcdef\r\n\r\n";
    for _ in 0..4 {
        script.push(c(record(23, text.as_bytes())));
        script.push(s(record(
            23,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".as_bytes(),
        )));
    }
    let found = found(&script);
    assert_ne!(found.verdict, Verdict::Mtls, "{}", found.reason);
    assert_ne!(found.verdict, Verdict::Tls, "{}", found.reason);
}

/// Records as a kernel writes them (kTLS): full ones of 16 KB, and data as long as a flight.
#[test]
fn data_records_of_the_kernel_change_nothing() {
    for (flight, verdict, certificate) in [
        (&[53][..], Verdict::Tls, ClientCertificate::NotRequested),
        (&[25, 53], Verdict::Tls, ClientCertificate::NotPresented),
        (&[887, 96, 53], Verdict::Mtls, ClientCertificate::Presented),
    ] {
        let mut script = tls13_with_request(Offer::default(), false, flight, 16_401);
        for len in [16_401, 4_113, 887, 96, 53] {
            script.push(c(sealed(len)));
            script.push(s(sealed(16_401)));
        }
        let found = found(&script);
        assert_eq!(found.verdict, verdict, "{}", found.reason);
        assert_eq!(found.tls.unwrap().client_certificate, certificate);
        assert_ne!(found.cause, Cause::SamplesLost);
    }
}
