//! What the kernel program samples of TLS streams, and of streams that are not TLS. Needs root.
//!
//! Packets built by hand go through the loaded program (`BPF_PROG_TEST_RUN`), so that every split,
//! gap and repetition is exactly as written here.

mod support;

use mtls_node::kernel::Config;
use support::{
    bench::{Bench, SYN},
    tls::{lay, record, stream_of, wanted},
};

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
    // Segments of one size, with every possible split.
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
    // Twenty-four headers are the maximum.
    let mut wanted = wanted(&records);
    wanted.truncate(4 * 95 + 20 * 35);
    wanted.resize(stream.len(), None);
    assert_eq!(lay(&bench.take(), stream.len()), wanted);
    // Done: what follows is not even counted.
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
    // The middle arrives late: nothing of the hello is missing in the end.
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
    // The server uses up its budget before the client asks for TLS.
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
    // Also if it follows records whose bodies were not copied.
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
    // Within a record, and then at the start of the next one.
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

#[test]
fn readable_bodies_show_in_every_segmentation() {
    let mut bench = Bench::new(&Config::default());
    let text = b"GET /secret HTTP/1.1\r\nHost: a.b\r\n\r\n and so on";
    let mut fake = vec![23, 3, 3, 0, text.len() as u8];
    fake.extend(text);
    let stream = [record(22, 60), fake.clone(), fake].concat();
    for size in 1..stream.len() {
        // Not more than the maximum number of segments of a TLS direction.
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
