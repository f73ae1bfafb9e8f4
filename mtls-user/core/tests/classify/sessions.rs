//! Resumptions, and what they inherit from the handshake that they continue.

use super::*;

#[test]
fn a_resumption_is_traced_by_its_ticket() {
    let mut sessions = Sessions::default();
    let ticket = noise(160);
    let offer = Offer {
        tls12: true,
        ..Offer::default()
    };
    let full = vec![
        c(client_hello(Offer {
            ticket: None,
            ..offer
        })),
        s(server_flight_12(&[], true)),
        c(client_flight_12(Some(CLIENT_CERT))),
        s(server_end_12(Some(&ticket))),
    ];
    let resumed = |ticket| {
        let mut script = cases()
            .into_iter()
            .find(|c| c.name == "1.2 resumed")
            .unwrap()
            .script;
        script[0] = c(client_hello(Offer {
            ticket: Some(ticket),
            ..offer
        }));
        deliver(&script, 1448)
    };
    run_at(&deliver(&full, 1448), NOW, &mut sessions);
    let later = NOW + 90_000_000_000;
    let (finding, _) = run_at(&resumed(&ticket), later, &mut sessions);
    assert_eq!(finding.verdict, Verdict::Mtls, "{}", finding.reason);
    assert_eq!(finding.evidence, Some(Evidence::Resumption));
    let tls = finding.tls.unwrap();
    assert_eq!((tls.resumed, tls.session_age), (Some(true), Some(90)));
    assert_eq!(
        tls.client_identity.as_deref(),
        Some("spiffe://cluster.local/ns/shop/sa/web")
    );

    let (finding, _) = run_at(&resumed(&[8; 160]), later, &mut sessions);
    assert_eq!(
        finding.verdict,
        Verdict::TlsUnproven,
        "another ticket proves nothing"
    );
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

    let external = Offer {
        psk: Some((12, 0)),
        ..offer
    };
    let (finding, _) = run_at(
        &deliver(&tls13(external, true, &[53]), 1448),
        NOW,
        &mut sessions,
    );
    assert_eq!(finding.verdict, Verdict::TlsUnproven);
    assert!(finding.tls.unwrap().external_psk);
}
