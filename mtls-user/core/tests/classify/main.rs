//! The classifier as a black box: flows built by hand, delivered in every way.

mod attacks;
mod cases;
mod endings;
mod flows;
mod joined;
mod losses;
mod properties;
mod sessions;

use cases::*;
use flows::*;
use mtls_core::classify::{Classifier, Context, Piece, Progress, Sessions, Side};
use mtls_core::record::{ClientCertificate, Evidence, Origin, Validity, Verdict};

#[test]
fn every_case_is_what_it_is() {
    for case in cases() {
        let (finding, _) = run(&deliver(&case.script, 1448));
        let name = case.name;
        assert_eq!(finding.verdict, case.verdict, "{name}: {}", finding.reason);
        assert_eq!(
            finding.evidence,
            Some(case.evidence),
            "{name}: {}",
            finding.reason
        );
        assert_eq!(finding.protocol, case.protocol, "{name}");
        let certificate = finding
            .tls
            .map(|tls| tls.client_certificate)
            .unwrap_or_default();
        assert_eq!(certificate, case.certificate, "{name}: {}", finding.reason);
    }
}

#[test]
fn what_a_handshake_showed() {
    let offer = Offer {
        sni: Some("api.shop.svc"),
        alpn: &["h2"],
        ..Offer::default()
    };
    let (finding, _) = run(&deliver(&tls13(offer, false, &[1000, 281, 53]), 1448));
    let tls = finding.tls.unwrap();
    assert_eq!(tls.version.as_deref(), Some("1.3"));
    assert_eq!(tls.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
    assert_eq!(tls.group.as_deref(), Some("x25519"));
    assert_eq!(tls.sni.as_deref(), Some("api.shop.svc"));
    assert_eq!(tls.alpn.as_deref(), Some("h2"));
    assert_eq!(tls.resumed, Some(false));
    assert_eq!(tls.completed, Some(true));
    assert!(tls.ja4.unwrap().starts_with("t13d0305h2_"));

    let (finding, _) = run(&deliver(&tls12(Some(CLIENT_CERT)), 1448));
    let tls = finding.tls.unwrap();
    assert_eq!(tls.version.as_deref(), Some("1.2"));
    assert_eq!(tls.alpn.as_deref(), Some("h2"));
    assert_eq!(
        tls.client_identity.as_deref(),
        Some("spiffe://cluster.local/ns/shop/sa/web")
    );
    assert_eq!(tls.server_identity.as_deref(), Some("api.shop.svc"));
    let certificate = tls.client_cert.unwrap();
    assert_eq!(certificate.subject, "CN=web,O=shop");
    assert_eq!(certificate.sans[1], "dns:web.shop.svc");
    assert_eq!(certificate.key, "ecdsa-p256");
    assert_eq!(certificate.validity, Validity::Valid);
    assert_eq!(
        *tls.server_cert.unwrap().sans,
        ["dns:api.shop.svc", "ip:10.0.0.7"]
    );
}

#[test]
fn a_certificate_is_judged_at_the_time_of_the_handshake() {
    let steps = deliver(&tls12(Some(CLIENT_CERT)), 1448);
    let validity = |time| {
        let (finding, _) = run_at(&steps, time, &mut Sessions::default());
        finding.tls.unwrap().client_cert.unwrap().validity
    };
    assert_eq!(validity(0), "not-yet-valid");
    assert_eq!(validity(NOW), "valid");
    assert_eq!(validity(u64::MAX / 2), "expired");
}

#[test]
fn a_mesh_is_named_and_its_claim_is_no_proof() {
    let sni = "web.shop.serviceaccount.identity.linkerd.cluster.local";
    let offer = Offer {
        sni: Some(sni),
        ..Offer::default()
    };
    let (finding, _) = run(&deliver(&tls13(offer, false, &[1000, 281, 53]), 1448));
    assert_eq!(finding.verdict, Verdict::Mtls);
    assert_eq!(finding.evidence, Some(Evidence::HandshakeShape));
    let tls = finding.tls.unwrap();
    assert_eq!(tls.mesh.as_deref(), Some("linkerd"));
    assert_eq!(tls.server_identity.as_deref(), Some(sni));

    let (finding, _) = run(&deliver(&tls13(offer, false, &[53]), 1448));
    assert_eq!(finding.verdict, Verdict::Tls);
    assert!(
        finding.notes[0].starts_with("mesh-disagrees"),
        "{:?}",
        finding.notes
    );

    let psk = Offer {
        psk: Some((200, 77)),
        ..offer
    };
    let (finding, _) = run(&deliver(&tls13(psk, true, &[53]), 1448));
    assert_eq!(
        (finding.verdict, finding.evidence),
        (Verdict::TlsUnproven, Some(Evidence::Mesh))
    );
}

#[test]
fn post_handshake_authentication_is_noted() {
    let offer = Offer {
        post_handshake_auth: true,
        ..Offer::default()
    };
    let (finding, _) = run(&deliver(&tls13(offer, false, &[53]), 1448));
    assert_eq!(finding.verdict, Verdict::Tls);
    assert!(finding.notes[0].starts_with("post-handshake-authentication"));
}

#[test]
fn the_first_exchange_of_http() {
    let request = "GET /items?id=1 HTTP/1.1\r\nHost: api\r\nUser-Agent: kube-probe/1.30\r\n\r\n";
    let steps = deliver(&vec![c(request), s("HTTP/1.1 503 No\r\n\r\n")], 7);
    let mut classifier = Classifier::new(Origin::Syn);
    let mut sessions = Sessions::default();
    for (i, step) in steps.iter().enumerate() {
        give(&mut classifier, step, NOW + 1000 * i as u64, &mut sessions);
    }
    assert!(classifier.is_done());
    let finding = classifier.finding();
    assert!(finding.reason.contains("kubelet"), "{}", finding.reason);
    let http = finding.http.unwrap();
    assert_eq!(http.path.as_deref(), Some("/items"));
    assert_eq!(
        (http.authority.as_deref(), http.status),
        (Some("api"), Some(503))
    );
    assert_eq!(
        http.latency_ns,
        Some(1000 * request.len().div_ceil(7) as u64)
    );
}

#[test]
fn grpc_is_named_by_its_content_type() {
    // HPACK: literal fields without indexing (RFC 7541 §6.2.2), static names where there are some.
    let mut block = vec![0x83, 0x86];
    block.extend([0x04, 6]);
    block.extend(b"/pkg.S");
    block.extend([0x01, 3]);
    block.extend(b"api");
    block.extend([0x0f, 0x10, 16]);
    block.extend(b"application/grpc");
    let frame = |kind: u8, flags: u8, body: &[u8]| {
        [
            &vec24(body)[..0],
            &(body.len() as u32).to_be_bytes()[1..],
            &[kind, flags, 0, 0, 0, 1],
            body,
        ]
        .concat()
    };
    let client = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(4, 0, &[]),
        &frame(1, 4, &block),
    ]
    .concat();
    let server = [frame(4, 0, &[]), frame(1, 4, &[0x88])].concat();
    let (finding, _) = run(&deliver(&vec![c(client), s(server)], 1448));
    assert_eq!(
        (finding.verdict, finding.protocol),
        (Verdict::Plaintext, "grpc")
    );
    let http = finding.http.unwrap();
    assert_eq!(http.method.as_deref(), Some("POST"));
    assert_eq!(http.path.as_deref(), Some("/pkg.S"));
    assert_eq!(http.status, Some(200));
}

#[test]
fn no_payload_is_no_data_and_lost_samples_are_unobserved() {
    let (client, server) = endpoints();
    let mut sessions = Sessions::default();
    let mut context = Context {
        client,
        server,
        sessions: &mut sessions,
    };
    let mut nothing = Classifier::new(Origin::Syn);
    nothing.finish(false, &mut context);
    assert_eq!(nothing.verdict(), Verdict::NoData);
    assert_eq!(nothing.finding().evidence, None);

    let mut lost = Classifier::new(Origin::Syn);
    lost.finish(true, &mut context);
    assert_eq!(lost.verdict(), Verdict::Unobserved);
}

/// Like kernel samples: hellos in full, and only the headers of later records.
#[test]
fn header_samples_are_enough() {
    let script = tls13(Offer::default(), false, &[1000, 281, 53]);
    let mut classifier = Classifier::new(Origin::Syn);
    let mut sessions = Sessions::default();
    let hellos = [(Side::Client, &script[0].1), (Side::Server, &script[1].1)];
    let mut sent = [0, 0];
    for (side, bytes) in hellos {
        let ack = sent[side.other() as usize];
        sent[side as usize] += bytes.len() as u64;
        let step = Step::Piece {
            side,
            offset: 0,
            bytes: bytes.clone(),
            ack,
        };
        assert_eq!(
            give(&mut classifier, &step, NOW, &mut sessions),
            Progress::NeedMore
        );
    }
    let mut offset = sent[0];
    for (len, header) in [(1u64, &ccs()), (1000, &sealed(1000)), (281, &sealed(281))] {
        let bytes = header[..5].to_vec();
        let step = Step::Piece {
            side: Side::Client,
            offset,
            bytes,
            ack: sent[1],
        };
        give(&mut classifier, &step, NOW, &mut sessions);
        offset += 5 + len;
    }
    assert_eq!(classifier.verdict(), Verdict::Mtls);
    assert!(!classifier.is_done());
    let bytes = sealed(250)[..5].to_vec();
    let step = Step::Piece {
        side: Side::Server,
        offset: sent[1],
        bytes,
        ack: offset,
    };
    give(&mut classifier, &step, NOW, &mut sessions);
    assert!(classifier.is_done());
    assert_eq!(classifier.finding().tls.unwrap().completed, Some(true));
}

#[test]
fn a_stream_joined_in_its_middle() {
    let (client, server) = endpoints();
    let mut sessions = Sessions::default();
    let mut feed = |pieces: &[(Side, &[u8])]| {
        let mut classifier = Classifier::new(Origin::Midstream);
        let mut at = [0u64; 2];
        for (side, bytes) in pieces {
            let offset = at[*side as usize];
            at[*side as usize] += bytes.len() as u64;
            let len = bytes.len() as u32;
            let piece = Piece {
                offset,
                len,
                bytes,
                ack: None,
                time: NOW,
                inside: false,
            };
            let mut context = Context {
                client,
                server,
                sessions: &mut sessions,
            };
            classifier.segment(*side, piece, &mut context);
        }
        classifier.finish(
            false,
            &mut Context {
                client,
                server,
                sessions: &mut sessions,
            },
        );
        let finding = classifier.finding();
        (
            finding.verdict,
            finding.evidence,
            classifier.client_is_server(),
        )
    };
    let records = [sealed(100), sealed(200), sealed(300)].concat();
    let unobserved = (Verdict::Unobserved, None, false);
    assert_eq!(
        feed(&[(Side::Client, &records)]),
        unobserved,
        "one segment is not enough"
    );
    assert_eq!(
        feed(&[(Side::Client, &records), (Side::Client, &sealed(90))]),
        (Verdict::TlsUnproven, Some(Evidence::RecordFraming), false)
    );
    assert_eq!(
        feed(&[(Side::Client, &noise(900)), (Side::Server, &noise(1400))]),
        unobserved
    );

    // The client is identified by what it sends, whichever side opened the connection.
    let script = tls13(Offer::default(), false, &[1000, 281, 53]);
    let swapped: Vec<(Side, &[u8])> = script
        .iter()
        .map(|(side, b)| (side.other(), &**b))
        .collect();
    let found = feed(&swapped);
    assert_eq!(found, (Verdict::Mtls, Some(Evidence::HandshakeShape), true));
    let answer = (Side::Client, &b"HTTP/1.1 200 OK\r\n\r\n"[..]);
    assert_eq!(feed(&[answer]).0, Verdict::Plaintext);
    assert!(feed(&[answer]).2);
}

#[test]
fn a_client_certificate_is_unknown_until_something_says_more() {
    let script = tls13(Offer::default(), false, &[]);
    let (finding, _) = run(&deliver(&script[..1].to_vec(), 1448)[..1]);
    assert_eq!(finding.verdict, Verdict::TlsUnproven);
    assert_eq!(
        finding.tls.unwrap().client_certificate,
        ClientCertificate::Unknown
    );
}

/// Suites without encryption or without certificates are not called TLS.
#[test]
fn suites_that_protect_less() {
    let with_suite = |suite| {
        let hello = server_hello(&noise(32), &[], suite, &[]);
        let flight = [hello, message(12, &noise(140)), message(14, &[])].concat();
        let script = vec![
            c(client_hello(Offer {
                tls12: true,
                ..Offer::default()
            })),
            s(record(22, &flight)),
            c(client_flight_12(None)),
            s(server_end_12(None)),
        ];
        run(&deliver(&script, 1448)).0
    };
    assert_eq!(
        with_suite(0x0002).verdict,
        Verdict::Plaintext,
        "TLS_RSA_WITH_NULL_SHA"
    );
    assert_eq!(
        with_suite(0xc018).verdict,
        Verdict::TlsUnproven,
        "anonymous"
    );
    let psk = with_suite(0x00a8);
    assert_eq!(psk.verdict, Verdict::TlsUnproven);
    assert!(psk.tls.unwrap().external_psk);
    assert_eq!(with_suite(0xc02f).verdict, Verdict::Tls);
}

#[test]
fn a_hello_framed_as_ssl2_is_named_as_such() {
    let mut hello = vec![0x80, 28, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f];
    hello.extend(noise(16));
    let mut script = tls12(None);
    script[0] = c(hello);
    for mss in [1, 7, 1448] {
        let (finding, _) = run(&deliver(&script, mss));
        assert_eq!(finding.verdict, Verdict::Tls, "{}", finding.reason);
        assert!(
            finding.notes[0].starts_with("sslv2-framed"),
            "{:?}",
            finding.notes
        );
    }
}

#[test]
fn strings_from_the_wire_are_escaped_and_bounded() {
    let long = "a".repeat(5000);
    let evil = format!("\u{1b}[31m{long}");
    let offer = Offer {
        sni: Some(&evil),
        alpn: &["\u{7}"],
        ..Offer::default()
    };
    let (finding, _) = run(&deliver(&tls13(offer, false, &[53]), 1448));
    let tls = finding.tls.unwrap();
    let sni = tls.sni.unwrap();
    assert!(sni.len() <= 255 && sni.starts_with("\\u{1b}[31m"), "{sni}");
    assert_eq!(*tls.alpn_offered, ["\\u{7}"]);
}
