//! What the kernel program samples of TLS streams, and of those that are none. Needs root.
//!
//! Packets made by hand go through the loaded program (`BPF_PROG_TEST_RUN`), so that every split,
//! hole and repetition is exactly as written here.

mod support;

use std::time::Duration;

use mtls_core::wire::{Direction, TcpFlags, What};
use mtls_node::kernel::{Config, Counters, Events, Kernel};
use support::{
    Seen,
    packet::Packet,
    segments,
    tls::{lay, record, stream_of, wanted},
};

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;
const RST: u8 = TcpFlags::RST;
/// The client's and the server's initial sequence numbers; the client's wraps soon.
const ISN: [u32; 2] = [u32::MAX - 400, 7000];

/// One connection, and the program it is sent through.
struct Bench {
    kernel: Kernel,
    events: Events,
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(config: &Config) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let mut kernel = Kernel::load(config).expect("load (these tests need root)");
        let events = kernel.events().expect("events");
        Self {
            kernel,
            events,
            port: 40_000,
            _runtime: runtime,
        }
    }

    /// Both SYNs of a new connection.
    fn open(&mut self) {
        self.port += 1;
        self.raw(false, ISN[0], 0, SYN, b"");
        self.raw(true, ISN[1], ISN[0].wrapping_add(1), SYN | ACK, b"");
    }

    fn packet(&self, back: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let packet = Packet {
            src_port: self.port,
            back,
            seq,
            ack,
            flags,
            payload,
            ..Packet::default()
        };
        packet.bytes()
    }

    fn raw(&mut self, back: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) {
        let packet = self.packet(back, seq, ack, flags, payload);
        let direction = if back {
            Direction::Ingress
        } else {
            Direction::Egress
        };
        self.kernel.run(direction, &packet, 1).expect("run");
    }

    /// Payload at an offset of the client's (`back`: the server's) stream.
    fn send(&mut self, back: bool, offset: usize, payload: &[u8]) {
        self.send_flagged(back, offset, payload, ACK);
    }

    fn send_flagged(&mut self, back: bool, offset: usize, payload: &[u8], flags: u8) {
        let seq = ISN[usize::from(back)]
            .wrapping_add(1)
            .wrapping_add(offset as u32);
        let ack = ISN[usize::from(!back)].wrapping_add(1);
        self.raw(back, seq, ack, flags, payload);
    }

    /// What was sampled since, without the SYNs: offset, bytes.
    fn take(&mut self) -> Vec<(usize, Vec<u8>)> {
        let seen = self.seen();
        seen.iter()
            .filter(|s| s.flags & SYN == 0 && !s.payload.is_empty())
            .map(|s| {
                let isn = s.isn.0.expect("the sender's ISN is known");
                (
                    s.seq.wrapping_sub(isn).wrapping_sub(1) as usize,
                    s.payload.clone(),
                )
            })
            .collect()
    }

    fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.events
            .drain(segments(|segment| seen.push(Seen::from(segment))));
        seen
    }

    fn counters(&self) -> Counters {
        let counters = self.kernel.counters();
        let sum = counters.sampled + counters.skipped + counters.lost();
        assert_eq!(counters.segments, sum, "{counters:?}");
        counters
    }
}

/// A TLS 1.3 client with a certificate, then data.
const CLIENT: &[(u8, usize)] = &[
    (22, 512),
    (20, 1),
    (23, 1300),
    (23, 281),
    (23, 53),
    (23, 99),
    (23, 400),
];

#[test]
fn hellos_are_copied_and_later_records_leave_their_headers() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    bench.send(false, 0, &record(22, 512));
    assert_eq!(bench.take(), [(0, record(22, 512))]);
    // ChangeCipherSpec and the client's flight in one segment.
    let flight = [
        record(20, 1),
        record(23, 1300),
        record(23, 281),
        record(23, 53),
    ]
    .concat();
    bench.send(false, 517, &flight);
    let expected = [
        (517, [&flight[..11], &record(23, 1300)[5..37]].concat()),
        (517 + 6 + 1305, record(23, 281)[..37].to_vec()),
        (517 + 6 + 1305 + 286, record(23, 53)[..37].to_vec()),
    ];
    assert_eq!(bench.take(), expected);
    bench.counters();
}

#[test]
fn every_segmentation_gives_the_same_bytes() {
    let mut bench = Bench::new(&Config::default());
    let stream = stream_of(CLIENT);
    let wanted = wanted(CLIENT);
    // Segments of one size, and every cut in two.
    for size in [100, 137, 536, 1448, 3000, stream.len()] {
        bench.open();
        for (number, segment) in stream.chunks(size).enumerate() {
            bench.send(false, number * size, segment);
        }
        assert_eq!(
            lay(&bench.take(), stream.len()),
            wanted,
            "segments of {size}"
        );
    }
    for cut in (1..stream.len()).filter(|cut| *cut < 530 || cut % 7 == 0) {
        bench.open();
        bench.send(false, 0, &stream[..cut]);
        bench.send(false, cut, &stream[cut..]);
        assert_eq!(lay(&bench.take(), stream.len()), wanted, "cut at {cut}");
    }
    bench.counters();
}

#[test]
fn crumbs_are_put_together() {
    let mut bench = Bench::new(&Config::default());
    let records = [(22, 9), (23, 4), (23, 6)];
    let stream = stream_of(&records);
    bench.open();
    for (offset, byte) in stream.iter().enumerate() {
        bench.send(false, offset, &[*byte]);
    }
    assert_eq!(lay(&bench.take(), stream.len()), wanted(&records));
}

#[test]
fn many_records_in_one_segment() {
    let mut bench = Bench::new(&Config::default());
    let mut records = vec![(22, 90); 4];
    records.extend([(23, 30); 26]);
    let stream = stream_of(&records);
    bench.open();
    bench.send(true, 0, &stream);
    // Twenty-four headers are the most that is wanted.
    let mut wanted = wanted(&records);
    wanted.truncate(4 * 95 + 20 * 35);
    wanted.resize(stream.len(), None);
    assert_eq!(lay(&bench.take(), stream.len()), wanted);
    // Done: what follows does not even count.
    let before = bench.counters();
    bench.send(true, stream.len(), &record(23, 30));
    assert_eq!(bench.take(), []);
    assert_eq!(bench.counters(), before);
}

#[test]
fn certificates_are_copied_in_full_up_to_the_cap() {
    let mut bench = Bench::new(&Config::default());
    for (certificates, whole) in [(10_000, true), (16_000, true), (16_380, false)] {
        let records = [
            (22, 80),
            (22, certificates),
            (22, 4),
            (20, 1),
            (22, 40),
            (23, 50),
        ];
        let stream = stream_of(&records);
        for size in [1448, 3000] {
            bench.open();
            for (number, segment) in stream.chunks(size).enumerate() {
                bench.send(true, number * size, segment);
            }
            let seen = lay(&bench.take(), stream.len());
            if whole {
                assert_eq!(seen, wanted(&records), "{certificates} in {size}");
            } else {
                let copied = seen.iter().flatten().count();
                assert!((16_000..17_900).contains(&copied), "{copied}");
            }
        }
    }
    bench.counters();
}

#[test]
fn a_repetition_is_not_sampled_and_a_hole_is_filled() {
    let mut bench = Bench::new(&Config::default());
    let stream = stream_of(CLIENT);
    bench.open();
    bench.send(false, 0, &stream[..300]);
    bench.send(false, 0, &stream[..300]);
    assert_eq!(bench.take().len(), 1);
    // The middle comes late: nothing of the hello is missing in the end.
    bench.send(false, 400, &stream[400..517]);
    bench.send(false, 300, &stream[300..400]);
    let pieces = bench.take();
    assert_eq!(lay(&pieces, 517)[300..], wanted(CLIENT)[300..517]);
    // A keep-alive probe repeats the byte before.
    bench.send(false, 299, &[0]);
    assert_eq!(bench.take(), []);
    bench.counters();
}

#[test]
fn plaintext_stops_after_its_budget() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    for number in 0..20 {
        bench.send(false, number * 10, b"0123456789");
    }
    assert_eq!(bench.take().len(), 8);
    bench.open();
    for number in 0..20 {
        bench.send(false, number * 1000, &[b'x'; 1000]);
    }
    let bytes: usize = bench.take().iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(bytes, 4096);
    bench.counters();
}

#[test]
fn an_upgrade_is_followed_from_its_hello_on() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    // The server talks itself out of its budget before the client asks for TLS.
    for number in 0..12 {
        bench.send(true, number * 20, b"250-some capability\n");
    }
    bench.send(false, 0, b"STARTTLS\r\n");
    bench.take();
    let stream = stream_of(CLIENT);
    bench.send(false, 10, &stream);
    let pieces: Vec<_> = bench
        .take()
        .into_iter()
        .map(|(at, bytes)| (at - 10, bytes))
        .collect();
    assert_eq!(lay(&pieces, stream.len()), wanted(CLIENT));
    bench.send(true, 240, &record(22, 90));
    assert_eq!(bench.take(), [(240, record(22, 90))]);
    bench.counters();
}

#[test]
fn what_only_looked_like_tls_is_sampled_as_what_it_is() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    bench.send(false, 0, &record(22, 200));
    bench.send(
        false,
        205,
        b"GET /secret HTTP/1.1\r\nHost: somewhere\r\n\r\n",
    );
    let expected = b"GET /secret HTTP/1.1\r\nHost: somewhere\r\n\r\n".to_vec();
    assert_eq!(bench.take(), [(0, record(22, 200)), (205, expected)]);
    // Also when it comes after records whose bodies were not copied.
    bench.open();
    bench.send(false, 0, &stream_of(&[(22, 200), (23, 60)]));
    bench.take();
    let mut all = Vec::new();
    for number in 0..3 {
        bench.send(false, 270 + 20 * number, b"PLAINTEXT PLAINTEXT ");
        all.extend(bench.take());
    }
    let text: Vec<_> = lay(&all, 330)[290..]
        .iter()
        .map_while(|byte| *byte)
        .collect();
    assert_eq!(text, b"PLAINTEXT PLAINTEXT ".repeat(2));
    bench.counters();
}

#[test]
fn a_stream_met_in_midstream_is_walked_from_the_next_record_on() {
    let mut bench = Bench::new(&Config::default());
    bench.port += 1;
    // Within a record, and then at the next one's start.
    bench.send(false, 0, &[0xaa; 700]);
    bench.send(false, 700, &stream_of(&[(23, 100), (23, 200)]));
    bench.send(false, 1010, &record(23, 300));
    let seen = bench.seen();
    assert!(seen.iter().all(|s| s.midstream && s.isn == (None, None)));
    let sizes: Vec<_> = seen.iter().map(|s| s.payload.len()).collect();
    assert_eq!(sizes, [700, 37, 37, 37]);
    assert_eq!(seen[1].payload[..5], [23, 3, 3, 0, 100]);
    assert_eq!(seen[2].seq.wrapping_sub(seen[1].seq), 105);
    assert_eq!(bench.counters().midstream, 1);
}

#[test]
fn a_flow_that_is_done_is_rechecked_with_four_segments_per_interval() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    // More than 2 GiB between any two: every distance of sequence numbers occurs.
    let mut at = 0_usize;
    let mut send = |bench: &mut Bench, step: usize| {
        at = at.wrapping_add(step) & 0xffff_ffff;
        bench.send(false, at, &[b'x'; 100]);
        bench
            .seen()
            .into_iter()
            .filter(|s| s.flags & SYN == 0)
            .collect::<Vec<_>>()
    };
    while !send(&mut bench, 100).is_empty() {}
    let before = bench.counters();
    assert_eq!(send(&mut bench, 100).len(), 0);
    assert_eq!(bench.counters(), before, "the fast path does not count");
    for round in 1..300 {
        bench.kernel.tick().expect("tick");
        for _ in 0..4 {
            let seen = send(&mut bench, 2_200_000_123);
            assert!(
                seen.len() == 1 && seen[0].again && seen[0].payload == [b'x'; 100],
                "{round}: {seen:?}"
            );
        }
        assert_eq!(send(&mut bench, 100).len(), 0);
        assert_eq!(bench.counters().resampled, 4 * round);
    }
}

/// Flags of what was seen, without payload.
fn ends(seen: &[Seen]) -> Vec<(u8, u32)> {
    seen.iter()
        .filter(|s| s.flags & (FIN | RST) != 0)
        .map(|s| (s.flags, s.seq.wrapping_add(s.len)))
        .collect()
}

#[test]
fn the_end_is_reported_once_and_a_new_syn_begins_anew() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    for number in 0..9 {
        bench.send(false, number, b"x");
    }
    bench.send(true, 0, b"answer");
    bench.seen();
    // The first FIN alone is no end, although it comes twice.
    for _ in 0..2 {
        bench.send_flagged(false, 9, b"", FIN | ACK);
    }
    assert_eq!(ends(&bench.seen()), []);
    for _ in 0..2 {
        bench.send_flagged(true, 6, b"", FIN | ACK);
    }
    let client = ISN[0].wrapping_add(1 + 9);
    assert_eq!(
        ends(&bench.seen()),
        [(FIN, client), (FIN | ACK, ISN[1] + 1 + 6)]
    );
    // The same ports again, with other sequence numbers; and the SYN comes twice.
    for _ in 0..2 {
        bench.raw(false, 5_000_000, 0, SYN, b"early");
    }
    bench.raw(false, 5_000_006, 1, ACK, b" bird");
    let seen = bench.seen();
    let what: Vec<_> = seen
        .iter()
        .map(|s| (s.seq, s.flags, s.payload.as_slice()))
        .collect();
    assert_eq!(
        what,
        [
            (5_000_000, SYN, &b""[..]),
            (5_000_001, 0, b"early"),
            (5_000_006, ACK, b" bird"),
        ]
    );
    assert!(
        seen.iter()
            .all(|s| s.isn == (Some(5_000_000), None) && !s.midstream)
    );
    bench.counters();
}

#[test]
fn a_fin_goes_with_its_payload() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    bench.send_flagged(false, 0, b"request", FIN | ACK);
    bench.send_flagged(true, 0, b"answer", FIN | ACK);
    assert_eq!(bench.counters().sampled, 2);
    let seen = bench.seen();
    assert_eq!(
        ends(&seen),
        [
            (FIN | ACK, ISN[0].wrapping_add(1 + 7)),
            (FIN | ACK, ISN[1] + 1 + 6)
        ]
    );
}

#[test]
fn a_connection_without_payload_is_one_sample() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    bench.send_flagged(false, 0, b"", FIN | ACK);
    bench.send_flagged(true, 0, b"", FIN | ACK);
    assert_eq!(bench.counters().sampled, 1);
    let flags: Vec<_> = bench.seen().iter().map(|s| s.flags).collect();
    assert_eq!(flags, [SYN, SYN | ACK, FIN, FIN | ACK]);
    // One that was refused: RFC 9293 §3.10.7.1.
    bench.port += 1;
    bench.raw(false, 100, 0, SYN, b"");
    bench.raw(true, 0, 555, RST | ACK, b"");
    assert_eq!(
        bench.counters().control_ignored,
        1,
        "it answers another SYN"
    );
    bench.raw(true, 0, 101, RST | ACK, b"");
    let flags: Vec<_> = bench.seen().iter().map(|s| s.flags).collect();
    assert_eq!(flags, [SYN, RST | ACK]);
    assert_eq!(bench.counters().sampled, 2);
    // And one that says nothing: it is found in the table.
    bench.open();
    let flags: Vec<_> = bench.seen().iter().map(|s| s.flags).collect();
    assert_eq!(flags, [SYN, SYN | ACK]);
    bench.send(false, 0, b"at last");
    let seen = bench.seen();
    assert_eq!(seen.len(), 1, "told once: {seen:?}");
    assert_eq!(seen[0].payload, b"at last");
}

#[test]
fn an_end_is_believed_where_it_is_due_and_until_there_is_payload() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    bench.send(false, 0, b"one");
    bench.seen();
    // Out of window, and with a wrong checksum.
    let next = ISN[0].wrapping_add(1 + 3);
    bench.raw(false, next.wrapping_add(77), 0, RST, b"");
    bench.send_flagged(false, 50, b"", FIN | ACK);
    let mut corrupt = bench.packet(false, next, 0, RST, b"");
    corrupt[34 + 16] ^= 0x55;
    bench
        .kernel
        .run(Direction::Egress, &corrupt, 1)
        .expect("run");
    assert_eq!(ends(&bench.seen()), []);
    assert_eq!(bench.counters().control_ignored, 3);
    // One that is due is an end, until there is payload after it; and then it is one again.
    for round in 0..3 {
        let next = next.wrapping_add(4 * round);
        for _ in 0..2 {
            bench.raw(false, next, 0, RST, b"");
        }
        assert_eq!(ends(&bench.seen()), [(RST, next)]);
        bench.raw(false, next, 0, ACK, b"more");
        let seen = bench.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].payload, b"more");
    }
    bench.counters();
}

#[test]
fn a_fin_behind_what_was_not_seen_is_one_when_it_is_answered() {
    let mut bench = Bench::new(&Config::default());
    let fin = |bench: &mut Bench, back: bool, seq: u32, ack: u32| {
        let [own, other] = if back { [ISN[1], ISN[0]] } else { ISN };
        let (seq, ack) = (own.wrapping_add(1 + seq), other.wrapping_add(1 + ack));
        bench.raw(back, seq, ack, FIN | ACK, b"");
    };
    // Fragments, which nobody reads here, carried 50 and 80 bytes.
    bench.open();
    fin(&mut bench, false, 50, 80);
    assert_eq!(ends(&bench.seen()), []);
    fin(&mut bench, true, 80, 50);
    assert_eq!(ends(&bench.seen()), [], "it does not answer the FIN");
    fin(&mut bench, true, 80, 51);
    let seen = bench.seen();
    let [client, server] = [ISN[0].wrapping_add(51), ISN[1].wrapping_add(81)];
    assert_eq!(
        ends(&seen),
        [(FIN, client), (FIN | ACK, server)],
        "{seen:?}"
    );
    // What comes after all is seen, wherever it lies.
    bench.send(false, 0, b"GET /secret");
    let seen = bench.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].payload, b"GET /secret");
    bench.counters();
}

#[test]
fn payload_after_the_end_of_a_flow_that_is_done_is_seen() {
    let mut bench = Bench::new(&Config::default());
    for flags in [RST, FIN | ACK] {
        bench.open();
        for number in 0..40 {
            bench.send(false, 100 * number, &[b'x'; 100]);
            bench.send(true, 100 * number, &[b'y'; 100]);
        }
        bench.seen();
        bench.send(false, 4000, &[b'x'; 100]);
        assert_eq!(bench.seen().len(), 0, "done");
        // Nothing is known of the number that is due.
        bench.send_flagged(false, 10_000_000, b"", flags);
        bench.seen();
        bench.send(false, 4100, b"GET /secret HTTP/1.1");
        let seen = bench.seen();
        let payload: Vec<_> = seen.iter().map(|s| s.payload.as_slice()).collect();
        assert_eq!(payload, [b"GET /secret HTTP/1.1"], "{flags}");
    }
    bench.counters();
}

#[test]
fn a_syn_within_a_connection_begins_another_one_when_it_is_answered() {
    let mut bench = Bench::new(&Config::default());
    bench.open();
    bench.send(false, 0, b"one");
    bench.send(true, 0, b"two");
    bench.seen();
    bench.raw(false, 99_000, 0, SYN, b"");
    bench.send(false, 3, b"more");
    let seen = bench.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(
        (&*seen[0].payload, seen[0].isn.0),
        (&b"more"[..], Some(ISN[0]))
    );
    bench.raw(true, 55_000, 99_001, SYN | ACK, b"");
    bench.raw(false, 99_001, 55_001, ACK, b"another");
    let seen = bench.seen();
    let flags: Vec<_> = seen.iter().map(|s| s.flags).collect();
    assert_eq!(flags, [SYN, SYN | ACK, ACK]);
    assert_eq!(seen[2].isn, (Some(99_000), Some(55_000)));
    assert_eq!(bench.counters().flows, 2);
}

#[test]
fn readable_bodies_show_in_every_segmentation() {
    let mut bench = Bench::new(&Config::default());
    let text = b"GET /secret HTTP/1.1\r\nHost: a.b\r\n\r\n and so on";
    let mut fake = vec![23, 3, 3, 0, text.len() as u8];
    fake.extend(text);
    let stream = [record(22, 60), fake.clone(), fake].concat();
    for size in 1..stream.len() {
        // Not more segments than a direction of TLS is worth.
        let size = size.max(3);
        bench.open();
        for (number, segment) in stream.chunks(size).enumerate() {
            bench.send(false, number * size, segment);
        }
        let seen = lay(&bench.take(), stream.len());
        for body in [70, 70 + 5 + text.len()] {
            let body: Vec<_> = seen[body..body + 32].iter().map_while(|b| *b).collect();
            assert_eq!(body, text[..32], "segments of {size}");
        }
    }
}

#[test]
fn a_full_bucket_gives_up_what_is_least_worth() {
    // One bucket.
    let mut bench = Bench::new(&Config {
        flows: 8,
        ..Config::default()
    });
    let hello = |bench: &mut Bench| {
        bench.open();
        bench.send(false, 0, b"hello");
        bench.send(true, 0, b"hello");
    };
    // Six that are open, one without an answer, one that is finished. Ages count 256 ticks of the kernel:
    // the first one is older than the others by at least one, also at 100 Hz.
    hello(&mut bench);
    std::thread::sleep(Duration::from_millis(2_600));
    for _ in 0..5 {
        hello(&mut bench);
    }
    bench.port += 1;
    bench.raw(false, 1, 0, SYN, b"");
    hello(&mut bench);
    bench.send_flagged(false, 5, b"", FIN | ACK);
    bench.send_flagged(true, 5, b"", FIN | ACK);
    bench.seen();
    assert_eq!(bench.counters().evicted_unanswered, 0);
    hello(&mut bench);
    assert_eq!(
        bench.counters().evicted_unanswered,
        0,
        "the finished one went"
    );
    hello(&mut bench);
    assert_eq!(bench.counters().evicted_unanswered, 1);
    assert_eq!(bench.counters().evicted, 0);
    bench.seen();
    assert_eq!(bench.events.take_unread(), []);
    // A flood of SYNs takes one place among them, and that again and again.
    hello(&mut bench);
    assert_eq!(bench.counters().evicted, 1);
    bench.seen();
    let [unread] = &bench.events.take_unread()[..] else {
        panic!("the one that went is named");
    };
    assert_eq!(unread.what, What::Evicted);
    assert!(
        [unread.src.port, unread.dst.port].contains(&40_001),
        "the oldest: {unread:?}"
    );
    for _ in 0..1000 {
        bench.port += 1;
        bench.raw(false, 1, 0, SYN, b"");
    }
    assert_eq!(bench.counters().evicted, 2);
    assert_eq!(bench.counters().evicted_unanswered, 1 + 999);
}

#[test]
fn of_one_direction_the_fin_is_delivered_once() {
    let mut bench = Bench::new(&Config::default());
    for back in [false, true] {
        bench.port += 1;
        let (flags, ack) = if back {
            (SYN | ACK, ISN[0].wrapping_add(1))
        } else {
            (SYN, 0)
        };
        bench.raw(back, ISN[usize::from(back)], ack, flags, b"");
        bench.send(back, 0, b"hello");
        bench.send_flagged(back, 5, b"", FIN | ACK);
        let seen = bench.seen();
        let ends: Vec<_> = seen.iter().map(|s| s.flags & (SYN | FIN)).collect();
        assert_eq!(ends, [SYN, 0, FIN], "{seen:?}");
        // Whatever the SYN-ACK says of the other side, nothing of it was seen.
        assert!(seen.iter().all(|s| s.src == seen[0].src), "{seen:?}");
        bench.send_flagged(back, 5, b"", FIN | ACK);
        assert_eq!(bench.seen().len(), 0);
    }
}

#[test]
fn both_ends_may_open() {
    let mut bench = Bench::new(&Config::default());
    bench.port += 1;
    bench.raw(false, ISN[0], 0, SYN, b"");
    bench.raw(true, ISN[1], 0, SYN, b"");
    bench.raw(true, ISN[1], ISN[0].wrapping_add(1), SYN | ACK, b"");
    bench.raw(false, ISN[0], ISN[1].wrapping_add(1), SYN | ACK, b"");
    bench.send(false, 0, b"hello");
    let seen = bench.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[2].isn, (Some(ISN[0]), Some(ISN[1])));
    assert_eq!(bench.counters().flows, 1);
}
