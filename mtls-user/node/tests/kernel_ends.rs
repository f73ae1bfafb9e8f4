//! How the kernel program handles the ends and beginnings of connections. Needs root.

mod support;

use std::time::Duration;

use mtls_core::wire::{Direction, What};
use mtls_node::kernel::Config;
use support::{
    Seen,
    bench::{ACK, Bench, FIN, ISN, RST, SYN},
};

/// Flags of the segments seen without payload.
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
    // The first FIN alone is not an end, even if it is repeated.
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
    // The same ports again, with other sequence numbers; and the SYN is repeated.
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
    // A refused one: RFC 9293 §3.10.7.1.
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
    // And a silent one: it is found in the table.
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
    // Out of the window, and with a wrong checksum.
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
    // At the expected number it is an end, until there is payload after it; and then again.
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
    // Fragments, which are not read here, carried 50 and 80 bytes.
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
    // What arrives afterwards is seen, wherever it is.
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
        // The expected number is unknown.
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
    // Six that are open, one without an answer, one that is finished. One unit of age is 256 kernel
    // ticks: the first one is older than the others by at least one, also at 100 Hz.
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
    // A flood of SYNs uses one entry among them, again and again.
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
        // Whatever the SYN-ACK says about the other side, nothing of it was seen.
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
