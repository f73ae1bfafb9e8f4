//! What neither a pod that forges packets nor an unusual but RFC-compliant stack can make the table
//! report.

use super::*;
use crate::record::{Cause, Unseen, Verdict};
use crate::wire::Checksum;

use super::scene::*;

#[test]
fn a_close_without_payload_is_proven_or_is_not_claimed() {
    let mut scene = Scene::new();
    scene.open();
    scene.c(100, 500, ACK | FIN);
    scene.s(500, 101, ACK | FIN);
    assert_eq!(scene.only().verdict, Verdict::NoData);

    // Both FINs follow bytes that were not seen.
    for (c, s) in [(30, 0), (0, 30), (30, 30)] {
        let mut scene = Scene::new();
        scene.links = [7, 9];
        scene.open();
        scene.c(100 + c, 500, ACK | FIN);
        scene.s(500 + s, 101 + c, ACK | FIN);
        let record = scene.only();
        assert_eq!(record.verdict, Verdict::Unobserved, "{c} and {s} bytes");
        assert_eq!(record.evidence, None);
        assert!(
            record.reason.contains("none of it was captured"),
            "{}",
            record.reason
        );
    }

    let mut scene = Scene::new();
    scene.open();
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Unobserved, "its end was not seen");
    let mut scene = Scene::new();
    scene.c(99, 0, SYN);
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Unobserved, "nobody answered");
    assert_eq!(record.unseen, [Unseen::Direction]);
}

#[test]
fn a_refusal_carries_nothing() {
    let mut scene = Scene::new();
    scene.c(99, 0, SYN);
    scene.s(0, 100, RST | ACK);
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::NoData);
    assert!(record.closed);
    assert_eq!(record.cause, Cause::ConnectionRefused);

    // The same SYN again, as some stacks send it, and now there is a server.
    let mut scene = Scene::new();
    scene.c(99, 0, SYN);
    scene.s(0, 100, RST | ACK);
    scene.open();
    scene.exchange();
    assert_eq!(scene.only().verdict, Verdict::Plaintext);
}

#[test]
fn a_reset_at_another_number_ends_nothing() {
    for links in [[0, 0], [7, 9]] {
        for seq in [12_345_678, 101 + (1 << 30), 98] {
            for by_server in [false, true] {
                let mut scene = Scene::new();
                scene.links = links;
                scene.open();
                if by_server {
                    scene.s(seq, 100, RST | ACK);
                } else {
                    scene.c(seq, 0, RST);
                }
                scene.time += 20 * SECOND;
                scene.exchange();
                scene.close();
                let record = scene.only();
                assert_eq!(record.verdict, Verdict::Plaintext, "at {seq}");
                assert_eq!(record.bytes.client, Some(GET.len() as u64));
                assert!(record.closed);
            }
        }
    }
}

#[test]
fn a_spray_of_resets_ends_nothing() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    for i in 0..1_000_u32 {
        // From a third pod, then as its target sees them.
        let mut s = segment(client(), server(), i.wrapping_mul(2_654_435_761), 0, RST);
        (s.link, s.direction) = (11, Direction::Egress);
        scene.give(s);
        (s.link, s.direction) = (9, Direction::Ingress);
        scene.give(s);
    }
    scene.exchange();
    scene.close();
    assert_eq!(scene.table.stats().spoofed, 1_000);
    assert!(scene.table.stats().resets_ignored > 900);
    assert_eq!(scene.only().verdict, Verdict::Plaintext);
}

#[test]
fn payload_behind_a_reset_reopens_the_flow() {
    // The server's pod sends a RST with the right number, and both continue.
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    scene.s(500, 100, RST | ACK);
    scene.exchange();
    scene.time += 20 * SECOND;
    let now = scene.time;
    let events = &mut scene.events;
    scene
        .table
        .expire(now, &mut |event, view| events.push((event, view.record())));
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert!(
        record.notes.iter().any(|n| n.starts_with("reopened: ")),
        "{record:?}"
    );

    // If it was already closed, what arrives is a separate connection.
    let mut scene = Scene::new();
    scene.open();
    scene.s(500, 100, RST | ACK);
    scene.table.expire(scene.time + 2 * SECOND, &mut |_, _| {});
    assert_eq!(scene.table.open().count(), 0);
    scene.exchange();
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert!(record.notes.iter().any(|n| n.starts_with("reopened: ")));
    assert_eq!(record.unseen, [Unseen::Start]);
}

/// What a client had sent before it received the RST is still its request.
#[test]
fn what_was_on_its_way_when_the_server_reset_is_reported() {
    let mut scene = Scene::new();
    scene.open();
    scene.s(500, 100, RST | ACK);
    scene.cross(data(segment(client(), server(), 100, 500, ACK), GET));
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert!(record.closed && record.notes.is_empty(), "{record:?}");
}

#[test]
fn payload_behind_a_forged_fin_goes_on() {
    let mut scene = Scene::new();
    scene.open();
    scene.c(100, 500, ACK | FIN);
    scene.exchange();
    scene.close();
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert_eq!(record.bytes.client, Some(GET.len() as u64));
    // Both FINs are forged: it is closed, and what follows is reported.
    let mut scene = Scene::new();
    scene.open();
    scene.c(100, 500, ACK | FIN);
    scene.s(500, 101, ACK | FIN);
    scene.exchange();
    let told: Vec<_> = scene
        .closed()
        .iter()
        .map(|r| r.verdict.known().unwrap())
        .collect();
    assert_eq!(told, [Verdict::NoData, Verdict::Plaintext]);
}

/// RFC 9293 §3.5.1, figure 10: the server still has an older connection.
#[test]
fn a_half_open_connection_is_found_and_opened_again() {
    for links in [[0, 0], [7, 9]] {
        let mut scene = Scene::new();
        scene.links = links;
        scene.c(99, 0, SYN);
        scene.s(3_000_000_000, 2_000_000_000, ACK);
        scene.c(2_000_000_000, 0, RST);
        scene.time += SECOND;
        scene.open();
        scene.exchange();
        scene.close();
        let record = scene.only();
        assert_eq!(record.verdict, Verdict::Plaintext);
        assert_eq!(record.bytes.client, Some(GET.len() as u64));
        assert_eq!(record.bytes.server, Some(OK.len() as u64));
    }
}

#[test]
fn a_forged_syn_ends_nothing() {
    let mut scene = Scene::new();
    scene.open();
    scene.c(5_000_000, 0, SYN);
    scene.s(700_000, 42, SYN | ACK);
    scene.exchange();
    scene.close();
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert_eq!(record.bytes.client, Some(GET.len() as u64));
}

#[test]
fn two_answers_to_one_syn_are_one_connection() {
    for real in [499, 3_000_000_000_u32] {
        let mut scene = Scene::new();
        scene.c(99, 0, SYN);
        scene.s(499, 100, SYN | ACK);
        scene.s(3_000_000_000, 100, SYN | ACK);
        let s = real + 1;
        scene.c(100, s, ACK);
        scene.cross(data(segment(client(), server(), 100, s, ACK), GET));
        scene.cross(data(
            segment(server(), client(), s, 100 + GET.len() as u32, ACK),
            OK,
        ));
        let record = scene.only();
        assert_eq!(record.verdict, Verdict::Plaintext);
        assert_eq!(record.bytes.server, Some(OK.len() as u64));
        assert!(
            record
                .notes
                .iter()
                .any(|n| n.starts_with("conflicting-start: "))
        );
    }
}

/// A firewall rewrites the numbers, and the capture has all or part of both of its sides.
#[test]
fn rewritten_sequence_numbers_neither_split_nor_inflate_a_flow() {
    let shift = 1_234_567_890_u32;
    let mut scene = Scene::new();
    scene.c(99, 0, SYN);
    scene.c(99 + shift, 0, SYN);
    scene.s(499, 100 + shift, SYN | ACK);
    scene.s(499, 100, SYN | ACK);
    for shift in [0, shift] {
        let seq = 100 + shift;
        scene.cross(data(segment(client(), server(), seq, 500, ACK), GET));
        scene.cross(data(
            segment(server(), client(), 500, seq + GET.len() as u32, ACK),
            OK,
        ));
    }
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert_eq!(record.bytes.client, Some(GET.len() as u64));
    assert_eq!(record.bytes.server, Some(OK.len() as u64));

    // The SYNs from one side of it, the rest from the other.
    let mut scene = Scene::new();
    scene.c(99, 0, SYN);
    scene.s(499, 100, SYN | ACK);
    let (c, s) = (100 + shift, 500 + shift);
    scene.cross(data(segment(client(), server(), c, s, ACK), GET));
    scene.cross(data(
        segment(server(), client(), s, c + GET.len() as u32, ACK),
        OK,
    ));
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert_eq!(record.bytes.client, Some(GET.len() as u64));
    assert_eq!(record.bytes.server, Some(OK.len() as u64));
}

#[test]
fn a_refused_fast_open_is_one_connection() {
    let mut scene = Scene::new();
    scene.cross(data(segment(client(), server(), 99, 0, SYN), GET));
    scene.s(499, 100, SYN | ACK);
    scene.c(100, 500, ACK);
    scene.exchange();
    scene.close();
    let record = scene.only();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert_eq!(record.bytes.client, Some(GET.len() as u64));
}

#[test]
fn a_pod_cannot_speak_for_its_peer() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    // The client's pod forges the server's answers.
    let mut forged = data(segment(server(), client(), 500, 100, ACK), OK);
    (forged.link, forged.direction) = (7, Direction::Egress);
    scene.give(forged);
    assert_eq!(scene.table.stats().spoofed, 1);
    scene.exchange();
    scene.close();
    let told = scene.closed();
    assert_eq!(told.len(), 2, "what was forged is told beside it");
    assert_eq!(told[0].bytes.server, Some(OK.len() as u64));
    assert!(told[0].notes.is_empty(), "{:?}", told[0].notes);
    let beside = told
        .iter()
        .find(|r| r.notes.iter().any(|n| n.starts_with("spoofed: ")));
    assert_eq!(beside.unwrap().links, [7]);
}

/// What the kernel did not see where its sender is known is reported separately from the
/// connection, which may lack it.
#[test]
fn what_the_kernel_calls_foreign_is_no_evidence() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    let mut forged = data(segment(server(), client(), 500, 100, ACK), OK);
    (forged.link, forged.direction, forged.foreign) = (11, Direction::Ingress, true);
    scene.give(forged);
    scene.give(forged);
    let told = scene.closed();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].verdict, Verdict::Unobserved);
    assert_eq!(told[0].unseen, [Unseen::Samples]);
    assert!(told[1].notes.iter().any(|n| n.starts_with("spoofed: ")));
}

#[test]
fn other_bytes_for_the_same_place_leave_no_clean_verdict() {
    let mut scene = Scene::new();
    scene.open();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on";
    scene.cross(data(segment(client(), server(), 100, 500, ACK), hello));
    scene.exchange();
    scene.close();
    let record = scene.only();
    assert_eq!(record.unseen, [Unseen::Conflict]);
    assert!(
        record
            .notes
            .iter()
            .any(|n| n.starts_with("conflicting-data: "))
    );
    assert!(!matches!(
        record.verdict.known().unwrap(),
        Verdict::Mtls | Verdict::Tls | Verdict::NoData | Verdict::Failed
    ));
}

#[test]
fn a_wrong_checksum_is_no_segment() {
    for flags in [ACK, ACK | FIN, ACK | RST] {
        let mut scene = Scene::new();
        scene.open();
        let mut decoy = data(segment(client(), server(), 100, 500, flags), &[0x80; 40]);
        decoy.checksum = Checksum::Wrong;
        scene.cross(decoy);
        scene.exchange();
        scene.close();
        assert_eq!(scene.table.stats().damaged, 1);
        let record = scene.only();
        assert_eq!(record.verdict, Verdict::Plaintext);
        assert!(
            record.unseen.is_empty() && record.notes.is_empty(),
            "{record:?}"
        );
    }
}

#[test]
fn unfinished_handshakes_take_bounded_memory_and_cost_others_nothing() {
    const LIMIT: usize = 1 << 20;
    const FLOWS: u16 = 4_000;
    // The first half of a record of 16 KB with a ClientHello.
    let mut half = vec![0x5a; 8 << 10];
    half[..11].copy_from_slice(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]);
    let half: &'static [u8] = half.leak();
    let mut table = FlowTable::new(Limits {
        undecided: LIMIT,
        ..Limits::default()
    });
    let (a, b) = (end(1, 40_000), end(2, 25));
    let mut events = run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
            data(segment(b, a, 500, 100, ACK), b"220 mail ESMTP\r\n"),
            data(segment(a, b, 100, 516, ACK), b"EHLO x\r\n"),
        ],
    );
    for port in 0..FLOWS {
        let (evil, victim) = (end(3, 1_024 + port), end(2, 443));
        let opening = [
            segment(evil, victim, 99, 0, SYN),
            data(segment(evil, victim, 100, 1, ACK), half),
        ];
        events.extend(run(&mut table, &opening));
        assert!(table.budget.held() <= LIMIT, "{}", table.budget.held());
    }
    let closed = kinds(&events)
        .iter()
        .filter(|e| **e == Event::Closed)
        .count();
    let open = table.open().count();
    assert_eq!(closed + open, usize::from(FLOWS) + 1, "each is reported");
    assert_eq!(table.stats().evicted, closed as u64);
    for (_, record) in events.iter().filter(|(event, _)| *event == Event::Closed) {
        assert_eq!(record.verdict, Verdict::Unobserved);
        assert!(record.unseen.contains(&Unseen::Samples.into()));
    }
    // The one that was answered is still there, although it is older.
    let rest = run(
        &mut table,
        &[
            data(segment(b, a, 516, 108, ACK), b"250 mail\r\n"),
            data(segment(a, b, 108, 526, ACK), b"MAIL FROM:<x@x>\r\n"),
            data(segment(b, a, 526, 125, ACK), b"250 ok\r\n"),
            data(segment(a, b, 125, 534, ACK), b"RCPT TO:<y@y>\r\n"),
            data(segment(b, a, 534, 140, ACK), b"250 ok\r\n"),
            segment(a, b, 140, 542, ACK | FIN),
            segment(b, a, 542, 141, ACK | FIN),
        ],
    );
    let (_, mail) = rest.last().unwrap();
    assert_eq!(mail.verdict, Verdict::Plaintext);
    assert!(mail.unseen.is_empty(), "{:?}", mail.unseen);
}
