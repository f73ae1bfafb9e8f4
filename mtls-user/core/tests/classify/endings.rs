//! How a flow continues after its handshake, and how it ends.

use mtls_core::classify::{Finding, Side};
use mtls_core::record::{Cause, ClientCertificate, Evidence, Verdict};

use crate::cases::cases;
use crate::flows::*;

#[test]
fn plaintext_behind_a_handshake_revises_the_verdict() {
    for (case, text) in [
        ("1.3 mutual", &b"GET / HTTP/1.1\r\n"[..]),
        ("1.2 mutual", b"\0\0\0\0\0\0"),
    ] {
        let mut script = cases().into_iter().find(|c| c.name == case).unwrap().script;
        script.push(c(text));
        let (finding, way) = run(&deliver(&script, 1448));
        assert!(way.contains(&Verdict::Mtls));
        let expected = if text[0] == 0 {
            Verdict::Opaque
        } else {
            Verdict::Plaintext
        };
        assert_eq!(finding.verdict, expected, "{case}: {}", finding.reason);
        assert_eq!(finding.evidence, Some(Evidence::RecordFraming));
    }
}

#[test]
fn text_in_the_records_of_a_fake_is_found() {
    let mut script = tls13(Offer::default(), false, &[1000, 281, 53]);
    script.push(c(record(
        23,
        b"this is not encrypted at all, anybody can read it",
    )));
    script.truncate(3);
    script.push(c(record(
        23,
        b"this is not encrypted at all, anybody can read it",
    )));
    let (finding, _) = run(&deliver(&script, 1448));
    assert_eq!(finding.verdict, Verdict::Plaintext);
}

/// However a fake frames and segments its text: header and body written separately, a few bytes per
/// record, records of other types.
#[test]
fn text_in_records_is_found_in_every_form() {
    let text = b"POST /login HTTP/1.1\r\nHost: a\r\n\r\nuser=a&password=b&more=text".repeat(4);
    let small: Vec<u8> = text.chunks(20).flat_map(|part| record(23, part)).collect();
    for name in ["1.3 mutual", "1.2 mutual", "1.3 not asked"] {
        let case = cases().into_iter().find(|c| c.name == name).unwrap();
        for (form, stream) in [
            ("application data", record(23, &text)),
            ("handshake", record(22, &text)),
            ("alert", record(21, &text)),
            ("heartbeat", record(24, &text)),
            ("small records", small.clone()),
        ] {
            for cut in [1, 3, 5, 7, 20, 36, stream.len()] {
                // At the end of the connection, and directly after the handshake.
                for at in [case.script.len(), 3] {
                    let mut script = case.script[..at].to_vec();
                    let (head, rest) = stream.split_at(cut);
                    script.extend([c(head), c(rest)]);
                    let (finding, _) = run(&deliver(&script, 1448));
                    let how = format!("{name}, {form} cut at {cut} after {at}");
                    assert_eq!(finding.verdict, Verdict::Plaintext, "{how}");
                }
            }
        }
    }
}

/// A renegotiation is encrypted; only a certificate is as long as what the client then sends.
#[test]
fn a_certificate_in_a_renegotiation() {
    let sealed_messages = |lens: &[usize]| -> Vec<u8> {
        lens.iter()
            .flat_map(|len| record(22, &noise(*len)))
            .collect()
    };
    let renegotiated = |lens: &[usize]| {
        let mut script = tls12(None);
        script.push(s(sealed_messages(&[28])));
        script.push(c(
            [sealed_messages(lens), ccs(), sealed_messages(&[40])].concat()
        ));
        script.push(s([ccs(), sealed_messages(&[40])].concat()));
        run(&deliver(&script, 1448))
    };
    let (finding, way) = renegotiated(&[300, 700, 94, 100]);
    assert_eq!(finding.verdict, Verdict::Mtls, "{}", finding.reason);
    assert!(
        way.contains(&Verdict::Tls),
        "what came before was not mutual"
    );
    assert!(
        finding
            .notes
            .iter()
            .any(|note| note.starts_with("renegotiation"))
    );

    // A key exchange without elliptic curves, in one record.
    for lens in [&[31, 542][..], &[774]] {
        let (finding, way) = renegotiated(lens);
        assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);
        assert!(!way.contains(&Verdict::Mtls));
    }

    let (finding, _) = renegotiated(&[300, 94]);
    assert_eq!(finding.verdict, Verdict::Tls);
    assert!(
        finding
            .notes
            .iter()
            .any(|note| note.starts_with("renegotiation"))
    );
}

/// A client without a certificate request that leaves first was not rejected by a server that
/// closes normally. With a request, that cannot be determined.
#[test]
fn a_polite_goodbye_is_no_refusal() {
    for farewell in [Some(19), None] {
        let asked = |records: &[u16]| {
            let flight: Vec<u8> = records.iter().flat_map(|len| sealed(*len)).collect();
            goodbye([ccs(), flight, sealed(19)].concat(), farewell)
        };
        let (finding, _) = asked(&[53]);
        assert_eq!(finding.verdict, Verdict::Tls, "{}", finding.reason);
        for (records, certificate) in [
            (&[1000, 281, 53][..], ClientCertificate::Presented),
            (&[25, 53], ClientCertificate::NotPresented),
        ] {
            let (finding, _) = asked(records);
            assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);
            assert!(finding.reason.starts_with("client closed before"));
            assert_eq!(finding.tls.unwrap().client_certificate, certificate);
        }
    }
}

/// An LDAP client that sends its password, and then asks for TLS.
#[test]
fn tls_behind_a_password_in_clear_is_too_late() {
    let bind = b"\x30\x11\x02\x01\x01\x60\x0c\x02\x01\x03\x04\x04cn=a\x80\x01p";
    let start = b"\x30\x1d\x02\x01\x02\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let mut script = vec![
        c(*bind),
        s(*b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"),
        c(*start),
        s(*b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\0\x04\0\x04\0"),
    ];
    script.extend(tls13(Offer::default(), false, &[1000, 281, 53]));
    let (finding, _) = run(&deliver(&script, 1448));
    assert_eq!(finding.verdict, Verdict::Plaintext, "{}", finding.reason);
    assert_eq!(finding.protocol, "ldap");
    let note = |note: &String| note.starts_with("tls-too-late: ");
    assert_eq!(finding.notes.iter().filter(|n| note(n)).count(), 1);
}

/// A cleartext proxy password before mutual TLS: never `mtls`, however well the rest is protected.
#[test]
fn a_proxys_password_in_clear_is_too_late() {
    let connect = |extra: &str| format!("CONNECT db:443 HTTP/1.1\r\nHost: db:443\r\n{extra}\r\n");
    let accepted = "HTTP/1.1 200 Connection established\r\n\r\n";
    let socks_address = b"\x05\x01\0\x01\x0a\x2a\x01\x02\x01\xbb";
    let socks_accepted = b"\x05\0\0\x01\0\0\0\0\0\0";
    let basic = "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n";
    let denied = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let behind = |ahead: &[(Side, Vec<u8>)], flight: &[u16]| {
        let mut script = ahead.to_vec();
        script.extend(tls13(Offer::default(), false, flight));
        run(&deliver(&script, 1448)).0
    };
    let mutual = |ahead: &[(Side, Vec<u8>)]| behind(ahead, &[1000, 281, 53]);
    for open in [
        vec![c(connect("")), s(accepted)],
        vec![
            c(*b"\x05\x01\0"),
            s(*b"\x05\0"),
            c(*socks_address),
            s(*socks_accepted),
        ],
    ] {
        assert_eq!(mutual(&open).verdict, Verdict::Mtls);
    }
    for secret in [
        vec![c(connect(basic)), s(accepted)],
        vec![c(connect("X-Api-Key: 0123456789abcdef\r\n")), s(accepted)],
        vec![
            c(connect("")),
            s(denied),
            c(connect(&basic.to_lowercase())),
            s(accepted),
        ],
        vec![
            c(*b"\x05\x02\0\x02"),
            s(*b"\x05\x02"),
            c(*b"\x01\x05alice\x06secret"),
            s(*b"\x01\0"),
            c(*socks_address),
            s(*socks_accepted),
        ],
    ] {
        // The verdict of the rest, the cause of the whole.
        let finding = behind(&secret, &[53, 300]);
        let told = (finding.verdict, finding.cause);
        assert_eq!(told, (Verdict::Tls, Cause::SecretInClear));
        let finding = behind(&secret, &[100, 53]);
        let told = (finding.verdict, finding.cause);
        assert_eq!(told, (Verdict::TlsUnproven, Cause::SecretInClear));
        // Alone, it is plaintext.
        let (finding, _) = run(&deliver(&secret, 1448));
        let told = (finding.verdict, finding.cause);
        assert_eq!(told, (Verdict::Plaintext, Cause::SecretInClear));
        let finding = mutual(&secret);
        assert_eq!(finding.cause, Cause::SecretInClear);
        assert_eq!(finding.verdict, Verdict::Plaintext, "{}", finding.reason);
        assert!(finding.reason.starts_with("password"), "{}", finding.reason);
        let note = |note: &String| note.starts_with("tls-too-late: ");
        assert!(finding.notes.iter().any(note), "{finding:?}");
    }
}

/// Like slapd with GnuTLS after an unbind: no tickets, a close_notify, and it closes first.
#[test]
fn a_client_that_was_asked_for_nothing_is_not_refused() {
    let flight = |records: &[u16]| -> Vec<u8> {
        let sealed = records.iter().flat_map(|len| sealed(*len));
        ccs().into_iter().chain(sealed).collect()
    };
    let closed_by_the_server = |records: &[u16]| {
        let script = vec![
            c(client_hello(Offer::default())),
            s(server_flight_13(false)),
            c(flight(records)),
            s(sealed(19)),
        ];
        run(&deliver(&script, 1448)).0
    };
    let finding = closed_by_the_server(&[69, 24]);
    assert_eq!(finding.verdict, Verdict::Tls, "{}", finding.reason);
    let unconfirmed = |note: &String| note.starts_with("unconfirmed: ");
    assert!(finding.notes.iter().any(unconfirmed), "{finding:?}");
    let finding = closed_by_the_server(&[1000, 281, 69, 24]);
    assert_eq!(finding.verdict, Verdict::Failed, "{}", finding.reason);
}

/// The client sends its flight and closes; the server's reaction acknowledges that: a last record
/// of that length, and its own close.
fn goodbye(flight: Vec<u8>, farewell: Option<u16>) -> (Finding, Vec<Verdict>) {
    let mut script = vec![
        c(client_hello(Offer::default())),
        s(server_flight_13(false)),
        c(flight),
    ];
    script.extend(farewell.map(|len| s(sealed(len))));
    let mut steps = deliver(&script, 1448);
    let Some(Step::Fin {
        side: Side::Client,
        length,
        ..
    }) = steps.last()
    else {
        panic!()
    };
    let closed = length + 1;
    // The client's close is delivered last; it precedes the server's reaction.
    let answers = steps.len() - 2 - usize::from(farewell.is_some());
    steps[answers..].rotate_right(1);
    for step in &mut steps[answers + 1..] {
        let (Step::Piece { ack, .. } | Step::Fin { ack, .. }) = step;
        *ack = closed;
    }
    run(&steps)
}

/// Early data whose first copy the observer missed is retransmitted when the client has the
/// ServerHello: it is still early data.
#[test]
fn early_data_sent_again_is_no_certificate() {
    let case = cases()
        .into_iter()
        .find(|c| c.name == "1.3 early data refused")
        .unwrap();
    let mut steps = deliver(&case.script, 700);
    let flight: usize = case.script[2].1.len();
    let lost = steps
        .iter()
        .position(|s| matches!(s, Step::Piece { offset, .. } if *offset > 0));
    let Step::Piece {
        side,
        offset,
        bytes,
        ..
    } = steps.remove(lost.unwrap())
    else {
        panic!()
    };
    let server_hello = |s: &Step| {
        matches!(
            s,
            Step::Piece {
                side: Side::Server,
                ..
            }
        )
    };
    let behind = steps
        .iter()
        .rposition(|s| server_hello(s) && is_before(s, flight))
        .unwrap()
        + 1;
    steps.insert(
        behind,
        Step::Piece {
            side,
            offset,
            bytes,
            ack: flight as u64,
        },
    );
    let (finding, _) = run(&steps);
    assert_eq!(finding.verdict, Verdict::Tls, "{}", finding.reason);
}

fn is_before(step: &Step, position: usize) -> bool {
    matches!(step, Step::Piece { offset, .. } if (*offset as usize) < position)
}

/// A TCP probe of a TLS server: no handshake failed, because none was started.
#[test]
fn a_client_that_says_nothing_has_not_failed_at_anything() {
    let alert = [21, 3, 3, 0, 2, 2, 50];
    let (finding, _) = run(&deliver(&vec![s(alert)], 1448));
    assert_eq!(finding.verdict, Verdict::NoData, "{}", finding.reason);
    assert_eq!((finding.evidence, finding.protocol), (None, "tls"));
    // But everything else that the server sends is evaluated.
    for more in [&b"220 welcome to the server\r\n"[..], &[0; 40]] {
        let (finding, _) = run(&deliver(&vec![s([&alert[..], more].concat())], 1448));
        assert_ne!(finding.verdict, Verdict::NoData, "{}", finding.reason);
        assert_ne!(finding.verdict, Verdict::Mtls, "{}", finding.reason);
    }
    // A client that does send something is rejected as usual.
    let (finding, _) = run(&deliver(&vec![c(tls12(None)[0].1.clone()), s(alert)], 1448));
    assert_eq!(finding.verdict, Verdict::Failed, "{}", finding.reason);
}
