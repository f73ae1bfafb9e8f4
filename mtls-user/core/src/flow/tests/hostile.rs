//! What a pod that forges packets, or a stack that does what the RFCs allow, cannot make the table say.

use super::*;
use crate::record::{Cause, Unseen, Verdict};
use crate::wire::Checksum;

const GET: &[u8] = b"GET /secret HTTP/1.1\r\nHost: db\r\nUser-Agent: curl/8\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const SECOND: u64 = 1_000_000_000;

/// A table with one connection from 10.0.0.1:40000 to 10.0.0.2:80, ISNs 99 and 499, and its events.
struct Scene {
    table: FlowTable,
    events: Vec<(Event, FlowRecord)>,
    time: u64,
    /// Interfaces of the client's pod and of the server's; zero in a capture.
    links: [u32; 2],
}

fn client() -> Endpoint {
    end(1, 40_000)
}

fn server() -> Endpoint {
    end(2, 80)
}

impl Scene {
    fn new() -> Self {
        Self {
            table: FlowTable::new(Limits::default()),
            events: Vec::new(),
            time: SECOND,
            links: [0; 2],
        }
    }

    fn give(&mut self, mut s: Segment<'_>) {
        self.time += 1_000_000;
        s.time = self.time;
        let events = &mut self.events;
        self.table
            .observe(&s, &mut |event, view| events.push((event, view.record())));
    }

    /// As the two veths on its way show it: out of the sender's pod, then to the receiver's.
    fn cross(&mut self, mut s: Segment<'_>) {
        if self.links == [0; 2] {
            return self.give(s);
        }
        let [from, to] = if s.src == client() {
            self.links
        } else {
            [self.links[1], self.links[0]]
        };
        (s.link, s.direction) = (from, Direction::Egress);
        self.give(s);
        (s.link, s.direction) = (to, Direction::Ingress);
        self.give(s);
    }

    fn c(&mut self, seq: u32, ack: u32, flags: u8) {
        self.cross(segment(client(), server(), seq, ack, flags));
    }

    fn s(&mut self, seq: u32, ack: u32, flags: u8) {
        self.cross(segment(server(), client(), seq, ack, flags));
    }

    fn open(&mut self) {
        self.c(99, 0, SYN);
        self.s(499, 100, SYN | ACK);
        self.c(100, 500, ACK);
    }

    fn exchange(&mut self) {
        self.cross(data(segment(client(), server(), 100, 500, ACK), GET));
        self.cross(data(
            segment(server(), client(), 500, 100 + GET.len() as u32, ACK),
            OK,
        ));
    }

    fn close(&mut self) {
        let (c, s) = (100 + GET.len() as u32, 500 + OK.len() as u32);
        self.c(c, s, ACK | FIN);
        self.s(s, c + 1, ACK | FIN);
    }

    /// Everything that was reported at a close, with what is still open closed.
    fn closed(mut self) -> Vec<FlowRecord> {
        let events = &mut self.events;
        self.table
            .drain(&mut |event, view| events.push((event, view.record())));
        let closed = self.events.into_iter().filter(|e| e.0 == Event::Closed);
        closed.map(|e| e.1).collect()
    }

    fn only(self) -> FlowRecord {
        let mut all = self.closed();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

#[test]
fn a_close_without_payload_is_proven_or_is_not_claimed() {
    let mut scene = Scene::new();
    scene.open();
    scene.c(100, 500, ACK | FIN);
    scene.s(500, 101, ACK | FIN);
    assert_eq!(scene.only().verdict, Verdict::NoData);

    // Both FINs lie behind bytes that were not seen.
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
            record.reason.contains("none of them was seen"),
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
    // The server's pod resets, at the right number, and both go on.
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

    // When it was closed already, what comes is a connection of its own.
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

/// What a client had sent before it heard of the reset is still its request.
#[test]
fn what_was_on_its_way_when_the_server_reset_is_told() {
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
    // Both FINs forged: it is closed, and what follows is reported.
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
        assert!(record.notes.iter().any(|n| n.starts_with("two-starts: ")));
    }
}

/// A firewall writes other numbers, and the capture has both of its sides, or one of them in part.
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
    // The client's pod answers itself, in the server's name.
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

/// What the kernel did not see where its sender is known is reported beside the connection, which may
/// lack it.
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
    assert!(record.notes.iter().any(|n| n.starts_with("contested: ")));
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
fn a_capture_that_lacks_segments_says_so() {
    let mut scene = Scene::new();
    scene.open();
    scene.exchange();
    let c = 100 + GET.len() as u32;
    scene.cross(data(segment(client(), server(), c + 500, 539, ACK), GET));
    assert_eq!(scene.table.open().next().unwrap().unseen(), [Unseen::Bytes]);
    // … until they come.
    scene.cross(data(segment(client(), server(), c, 539, ACK), &[b'x'; 500]));
    assert_eq!(scene.table.open().next().unwrap().unseen(), []);
}

#[test]
fn losses_reach_the_flows_that_they_may_concern() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    let loss = |link, since, until| Loss {
        what: Unseen::Samples,
        link,
        between: None,
        since,
        until,
    };
    let verdict = |scene: &Scene| scene.table.open().next().unwrap().verdict();
    assert_eq!(
        scene.table.lost(&loss(Some(8), 0, u64::MAX)),
        0,
        "another interface"
    );
    assert_eq!(
        scene.table.lost(&loss(None, 0, SECOND)),
        0,
        "before its time"
    );
    let elsewhere = Loss {
        what: Unseen::Fragments,
        between: Some([end(1, 0).ip, end(3, 0).ip]),
        ..loss(None, 0, u64::MAX)
    };
    assert_eq!(scene.table.lost(&elsewhere), 0, "other pods");
    assert_eq!(verdict(&scene), Verdict::NoData);
    assert_eq!(scene.table.lost(&loss(Some(9), 0, u64::MAX)), 1);
    assert_eq!(verdict(&scene), Verdict::Unobserved);
    // Its end may have been lost: it does not stay open for ever.
    let mut closed = Vec::new();
    let later = scene.time + 700 * SECOND;
    scene.table.expire(later, &mut |event, view| {
        closed.push((event, view.record()));
    });
    assert_eq!(kinds(&closed), [Event::Closed]);
    assert_eq!(closed[0].1.verdict, Verdict::Unobserved);
    assert_eq!(closed[0].1.unseen, [Unseen::Samples]);
}

#[test]
fn a_decided_flow_outlives_a_loss() {
    let mut scene = Scene::new();
    scene.links = [7, 9];
    scene.open();
    scene.exchange();
    let all = Loss {
        what: Unseen::Samples,
        link: None,
        between: None,
        since: 0,
        until: u64::MAX,
    };
    assert_eq!(scene.table.lost(&all), 1);
    let view = scene.table.open().next().unwrap();
    assert_eq!(view.verdict(), Verdict::Plaintext);
    assert!(view.unseen().is_empty());
}

/// The daemon began again: who accepts connections is known from others.
#[test]
fn a_server_is_known_by_other_connections() {
    let listener = end(2, 50_051);
    let mut table = FlowTable::new(Limits::default());
    let mid = data(
        segment(listener, end(3, 40_001), 7, 7, ACK),
        b"\x17\x03\x03",
    );
    let unknown = run(&mut table, &[mid]);
    assert_eq!(unknown[0].1.src.port, Some(50_051), "who speaks first asks");
    let noted = |record: &FlowRecord| {
        record
            .notes
            .iter()
            .any(|n| n.starts_with("direction-unknown: "))
    };
    assert!(noted(&unknown[0].1));
    let known = run(
        &mut table,
        &[
            segment(client(), listener, 99, 0, SYN),
            segment(listener, client(), 499, 100, SYN | ACK),
            data(
                segment(listener, end(3, 40_002), 7, 7, ACK),
                b"\x17\x03\x03",
            ),
        ],
    );
    let record = &known.last().unwrap().1;
    assert_eq!(
        (record.src.port, record.dst.port),
        (Some(40_002), Some(50_051))
    );
    assert!(!noted(record));
}

#[test]
fn a_connection_that_the_kernel_gave_up_is_marked_and_not_open_for_ever() {
    use crate::wire::{Unread, What};
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
        ],
    );
    let evicted = Unread {
        time: 2,
        link: 7,
        direction: Direction::Egress,
        src: b,
        dst: a,
        what: What::Evicted,
    };
    table.unread(&[evicted]);
    let view = table.open().next().expect("it is open");
    assert_eq!(view.unseen(), [Unseen::Samples]);
    let events = {
        let mut events = Vec::new();
        table.expire(12_000_000_000, &mut |event, view| {
            events.push((event, view.record()));
        });
        events
    };
    assert_eq!(kinds(&events), [Event::Closed]);
    assert_eq!(events[0].1.verdict, Verdict::Unobserved);
    assert!(!events[0].1.closed, "its end was not seen");
}

/// The kernel tells of fragments before it tells of the connection, whose SYNs are no sample.
#[test]
fn fragments_that_were_told_of_before_their_connection_mark_it() {
    use crate::wire::{Unread, What};
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    let fragments = Unread {
        time: 2,
        link: 7,
        direction: Direction::Egress,
        src: a,
        dst: b,
        what: What::Fragments,
    };
    table.unread(&[fragments]);
    run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
        ],
    );
    let view = table.open().next().expect("it is open");
    assert_eq!(view.unseen(), [Unseen::Fragments]);
    assert_eq!(view.verdict(), Verdict::Unobserved);
    assert_eq!(view.finding().cause, Cause::Fragmented);
}
