//! Resumptions, and what they inherit from the handshake that they continue.

use super::*;

const TLS12: Offer<'_> = Offer {
    tls12: true,
    sni: None,
    alpn: &[],
    session_id: &[],
    ticket: None,
    psk: None,
    early_data: false,
    post_handshake_auth: false,
    openssl: false,
    raw_key: false,
    settings: false,
};

/// A full TLS 1.2 handshake with or without a client certificate, in which the server issues this
/// ticket.
fn issued(ticket: &[u8], mutual: bool) -> Vec<Step> {
    let certificate = mutual.then_some(CLIENT_CERT);
    let script = vec![
        c(client_hello(TLS12)),
        s(server_flight_12(&[], mutual)),
        c(client_flight_12(certificate)),
        s(server_end_12(Some(ticket))),
    ];
    deliver(&script, 1448)
}

/// A resumption by this ticket, and what the two sides send after it.
fn resumed(ticket: &[u8], rest: Script) -> Vec<Step> {
    let hello = client_hello(Offer {
        ticket: Some(ticket),
        ..TLS12
    });
    let answer = record(22, &server_hello(&noise(32), &[], 0xc02b, &[]));
    let mut script = vec![
        c(hello),
        s([answer, server_end_12(None)].concat()),
        c([ccs(), record(22, &noise(40))].concat()),
    ];
    script.extend(rest);
    deliver(&script, 1448)
}

#[test]
fn a_resumption_is_traced_by_its_ticket() {
    let mut sessions = Sessions::default();
    let ticket = noise(160);
    let exchange = || vec![c(sealed(100)), s(sealed(500))];
    run_at(&issued(&ticket, true), NOW, &mut sessions);
    let later = NOW + 90_000_000_000;
    let (finding, _) = run_at(&resumed(&ticket, exchange()), later, &mut sessions);
    assert_eq!(finding.verdict, Verdict::Mtls, "{}", finding.reason);
    assert_eq!(finding.evidence, Some(Evidence::Resumption));
    let tls = finding.tls.unwrap();
    assert_eq!((tls.resumed, tls.session_age), (Some(true), Some(90)));
    assert_eq!(
        tls.client_identity.as_deref(),
        Some("spiffe://cluster.local/ns/shop/sa/web")
    );

    let (finding, _) = run_at(&resumed(&[8; 160], exchange()), later, &mut sessions);
    assert_eq!(
        finding.verdict,
        Verdict::TlsUnproven,
        "another ticket proves nothing"
    );
}

/// Tickets are unencrypted in TLS 1.2: whoever saw one can send it, but not resume its session.
#[test]
fn a_stolen_ticket_is_not_mutual() {
    let ticket = noise(160);
    let alert = || record(21, &noise(26));
    for (rest, verdict) in [
        (vec![s(alert())], Verdict::Failed),
        (vec![c(sealed(100)), s(alert())], Verdict::Failed),
        (vec![c(sealed(100))], Verdict::TlsUnproven),
        (vec![s(sealed(100))], Verdict::Mtls),
        (
            vec![c(sealed(100)), s(sealed(100)), s(alert())],
            Verdict::Mtls,
        ),
    ] {
        let mut sessions = Sessions::default();
        run_at(&issued(&ticket, true), NOW, &mut sessions);
        let (finding, _) = run_at(&resumed(&ticket, rest), NOW, &mut sessions);
        assert_eq!(finding.verdict, verdict, "{}", finding.reason);
    }
    // The client closes first: the server's alert may be a goodbye.
    let mut sessions = Sessions::default();
    run_at(&issued(&ticket, true), NOW, &mut sessions);
    let mut steps = resumed(&ticket, vec![s(alert())]);
    let (Some(Step::Fin { length: client, .. }), Some(Step::Fin { length: server, .. })) =
        (steps.pop(), steps.pop())
    else {
        panic!("both sides close");
    };
    let (alert, length) = (steps.pop().unwrap(), server - 31);
    let fin = |side, length, ack| Step::Fin { side, length, ack };
    steps.push(fin(Side::Client, client, length));
    let Step::Piece {
        side,
        offset,
        bytes,
        ..
    } = alert
    else {
        panic!("the alert");
    };
    let ack = client + 1;
    steps.push(Step::Piece {
        side,
        offset,
        bytes,
        ack,
    });
    steps.push(fin(Side::Server, server, ack));
    let (finding, _) = run_at(&steps, NOW, &mut sessions);
    assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);
}

/// A server of the attacker's issues the ticket that another server has issued to the same client,
/// in a mutual handshake.
#[test]
fn a_ticket_belongs_to_its_server() {
    let ticket = noise(160);
    let exchange = || vec![c(sealed(100)), s(sealed(500))];
    let (client, server) = endpoints();
    let mut other = server;
    other.ip[15] += 1;
    for known in [false, true] {
        let mut sessions = Sessions::default();
        if known {
            run_at(&issued(&ticket, false), NOW, &mut sessions);
        }
        run_between((client, other), &issued(&ticket, true), NOW, &mut sessions);
        let (finding, _) = run_at(&resumed(&ticket, exchange()), NOW, &mut sessions);
        let expected = if known {
            Verdict::Tls
        } else {
            Verdict::TlsUnproven
        };
        assert_eq!(finding.verdict, expected, "{}", finding.reason);
    }
}

#[test]
fn a_resumption_in_1_3_inherits_from_its_peers() {
    let offer = Offer {
        sni: Some("api"),
        ..Offer::default()
    };
    let psk = Offer {
        psk: Some((200, 77)),
        ..offer
    };
    let full = |records: &[u16]| deliver(&tls13(offer, false, records), 1448);
    let resumed = deliver(&tls13(psk, true, &[53]), 1448);
    let mut sessions = Sessions::default();
    run_at(&full(&[1000, 281, 53]), NOW, &mut sessions);
    let (finding, _) = run_at(&resumed, NOW, &mut sessions);
    assert_eq!(
        (finding.verdict, finding.evidence),
        (Verdict::Mtls, Some(Evidence::Inherited))
    );

    // A ticket far longer than any that was issued: its session was not seen.
    let longer = Offer {
        psk: Some((704, 77)),
        ..offer
    };
    let longer = deliver(&tls13(longer, true, &[53]), 1448);
    let (finding, _) = run_at(&longer, NOW, &mut sessions);
    assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);

    // Disabled.
    let mut off = Sessions::new(1024, false);
    run_at(&full(&[1000, 281, 53]), NOW, &mut off);
    let (finding, _) = run_at(&resumed, NOW, &mut off);
    assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);
    assert!(
        finding.reason.contains("switched off"),
        "{}",
        finding.reason
    );

    let elsewhere = Offer {
        sni: Some("other"),
        ..psk
    };
    let (finding, _) = run_at(
        &deliver(&tls13(elsewhere, true, &[53]), 1448),
        NOW,
        &mut sessions,
    );
    assert_eq!(finding.verdict, Verdict::TlsUnproven);

    // Two kinds of handshakes: it cannot be known which of them is resumed.
    run_at(&full(&[53]), NOW, &mut sessions);
    let (finding, _) = run_at(&resumed, NOW, &mut sessions);
    assert_eq!(finding.verdict, Verdict::TlsUnproven);

    // The last handshake may have been either, because its client pads.
    let mut sessions = Sessions::default();
    run_at(&full(&[1000, 281, 53]), NOW, &mut sessions);
    let padded = tls13_with_request(offer, false, &[216], 416);
    let (finding, _) = run_at(&deliver(&padded, 1448), NOW, &mut sessions);
    assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);
    let (finding, _) = run_at(&resumed, NOW, &mut sessions);
    assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);

    // A key of the operator's, however long its name is.
    let mut sessions = Sessions::default();
    run_at(&full(&[1000, 281, 53]), NOW, &mut sessions);
    for len in [12, 200] {
        let external = Offer {
            psk: Some((len, 0)),
            ..offer
        };
        let (finding, _) = run_at(
            &deliver(&tls13(external, true, &[53]), 1448),
            NOW,
            &mut sessions,
        );
        assert_eq!(finding.verdict, Verdict::TlsUnproven, "{}", finding.reason);
        assert!(finding.tls.unwrap().external_psk);
    }
}
