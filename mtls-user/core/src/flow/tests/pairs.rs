//! Halves of one connection, and what only looks like them.

use super::*;
use crate::record::{Cause, Verdict};

const GET: &[u8] = b"GET /secret HTTP/1.1\r\nHost: db\r\nUser-Agent: curl/8\r\n\r\n";
const OTHER: &[u8] = b"POST /other HTTP/1.1\r\nHost: db\r\nUser-Agent: wget\r\n\r\n";

/// Segments of a connection with ISNs 99 and 499, seen on an interface per side, or on none.
fn connection(
    (client, server): (Endpoint, Endpoint),
    links: [u32; 2],
    time: u64,
    request: &'static [u8],
) -> Vec<Segment<'static>> {
    let n = request.len() as u32;
    let mut all = Vec::new();
    for (back, s) in [
        (false, segment(client, server, 99, 0, SYN)),
        (true, segment(server, client, 499, 100, SYN | ACK)),
        (false, data(segment(client, server, 100, 500, ACK), request)),
        (true, segment(server, client, 500, 100 + n, ACK | FIN)),
        (false, segment(client, server, 100 + n, 501, ACK | FIN)),
    ] {
        let [out, into] = if back { [links[1], links[0]] } else { links };
        for (link, direction) in [(out, Direction::Egress), (into, Direction::Ingress)] {
            let mut s = s;
            s.time = time + all.len() as u64 * 1_000_000;
            if links == [0; 2] {
                all.push(s);
                break;
            }
            if link != 0 {
                (s.link, s.direction) = (link, direction);
                all.push(s);
            }
        }
    }
    all
}

fn closed(segments: &[Segment<'_>]) -> (FlowStats, Vec<FlowRecord>) {
    let mut table = FlowTable::new(Limits::default());
    let mut events = run(&mut table, segments);
    table.drain(&mut |event, view| events.push((event, view.record())));
    let opened = kinds(&events)
        .iter()
        .filter(|e| **e == Event::Opened)
        .count();
    let closed: Vec<_> = events
        .into_iter()
        .filter(|e| e.0 == Event::Closed)
        .map(|e| e.1)
        .collect();
    assert_eq!(opened, closed.len(), "each is opened and closed once");
    assert_eq!(table.stats().seen, closed.len() as u64);
    (table.stats(), closed)
}

fn interleaved(a: &[Segment<'static>], b: &[Segment<'static>]) -> Vec<Segment<'static>> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).flat_map(|(a, b)| [*a, *b]).collect()
}

/// Two pods that agree on their numbers hide nothing, whatever else they agree on.
#[test]
fn connections_of_two_pods_are_never_one() {
    let web = (end(1, 40_000), end(2, 8_443));
    let cart = (end(3, 41_000), end(2, 9_100));
    for request in [GET, OTHER] {
        let a = connection(web, [7, 9], 1, GET);
        let b = connection(cart, [8, 9], 1, request);
        for segments in [[a.clone(), b.clone()].concat(), interleaved(&a, &b)] {
            let (stats, records) = closed(&segments);
            assert_eq!((records.len(), stats.joined), (2, 0));
            assert!(records.iter().all(|r| r.verdict == Verdict::Plaintext));
            assert!(records.iter().all(|r| r.halves.is_empty()));
        }
    }
}

/// In a capture, equal numbers are common: tools that create captures use the same ones.
#[test]
fn equal_numbers_in_a_capture_join_what_shares_an_end_and_its_bytes() {
    let (pod, service, server) = (end(1, 40_000), end(200, 80), end(2, 8_080));
    let a = connection((pod, service), [0; 2], 1, GET);
    let same = connection((pod, server), [0; 2], 1, GET);
    let (stats, records) = closed(&interleaved(&a, &same));
    assert_eq!((records.len(), stats.joined), (1, 1));
    let halves = &records[0].halves;
    assert_eq!(halves.len(), 2);
    assert!(halves.iter().any(|half| half.dst == service.into()));
    assert!(halves.iter().any(|half| half.dst == server.into()));

    let stranger = connection((end(5, 40_000), server), [0; 2], 1, GET);
    let (stats, records) = closed(&interleaved(&a, &stranger));
    assert_eq!((records.len(), stats.joined), (2, 0), "no end in common");

    let other = connection((pod, server), [0; 2], 1, OTHER);
    for segments in [interleaved(&a, &other), [a.clone(), other].concat()] {
        let (_, records) = closed(&segments);
        assert_eq!(records.len(), 2, "other content");
    }
    let late = connection((pod, server), [0; 2], 5_000_000_000, GET);
    let (_, records) = closed(&[a, late].concat());
    assert_eq!(records.len(), 2, "another time");
}

/// Halves that carried different amounts were not halves: both are reported.
#[test]
fn a_half_with_more_to_it_is_parted() {
    let (pod, service, server) = (end(1, 40_000), end(200, 80), end(2, 8_080));
    let a = connection((pod, service), [7, 0], 1, GET);
    let b = connection((pod, server), [0, 9], 1, GET);
    let (stats, records) = closed(&interleaved(&a, &b));
    assert_eq!((records.len(), stats.joined), (1, 1));
    // The second continues after the first has ended.
    let mut longer = [&a[..], &b[..3]].concat();
    let at = 100 + GET.len() as u32;
    let mut more = data(segment(pod, server, at, 500, ACK), OTHER);
    (more.link, more.direction, more.time) = (9, Direction::Ingress, 20_000_000);
    longer.push(more);
    let (stats, records) = closed(&longer);
    assert_eq!((records.len(), stats.joined), (2, 0));
    // The first is silent, and the second is not.
    let mut silent = a.clone();
    silent.retain(|s| s.len == 0);
    let n = GET.len() as u32;
    for s in &mut silent {
        if s.flags.fin() && s.src == pod {
            s.seq -= n;
        }
    }
    let segments = [silent, b].concat();
    let (_, records) = closed(&segments);
    assert!(
        records.iter().any(|r| r.verdict == Verdict::Plaintext),
        "{records:?}"
    );
}

/// A half of which only the beginning is known, because everything else was lost, adds no
/// connection.
#[test]
fn a_half_that_was_lost_is_still_a_half() {
    let (pod, service, server) = (end(1, 40_000), end(200, 80), end(2, 8_080));
    let a = connection((pod, service), [7, 0], 1, GET);
    let mut b = connection((pod, server), [0, 9], 1, GET);
    for s in &mut b {
        s.lost = true;
    }
    let told = |segments: &[Segment<'_>]| {
        let mut table = FlowTable::new(Limits::default());
        let mut events = run(&mut table, segments);
        table.ended(&server, &pod, &mut |event, view| {
            events.push((event, view.record()));
        });
        table.drain(&mut |event, view| events.push((event, view.record())));
        events.retain(|(event, _)| *event == Event::Closed);
        events
            .into_iter()
            .map(|(_, record)| record)
            .collect::<Vec<_>>()
    };
    // Whichever is reported first.
    for segments in [[&a[..], &b[..2]].concat(), [&b[..2], &a[..]].concat()] {
        let records = told(&segments);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0].verdict, Verdict::Plaintext);
    }
    // What arrives on it after the end of the other is reported.
    let records = told(&[&a[..], &b[..3]].concat());
    assert_eq!(records.len(), 2, "{records:#?}");
}

#[test]
fn what_was_lost_of_a_connection_is_its_reason() {
    let (pod, server) = (end(1, 40_000), end(2, 8_080));
    let mut all = connection((pod, server), [7, 9], 1, b"GE");
    all.truncate(6);
    let mut table = FlowTable::new(Limits::default());
    run(&mut table, &all);
    let cause = |table: &FlowTable| {
        let view = table.open().next().expect("it is open");
        (view.verdict(), view.finding().cause)
    };
    assert_eq!(cause(&table), (Verdict::Unobserved, Cause::NotDecided));
    all[4].lost = true;
    run(&mut table, &all[4..5]);
    assert_eq!(cause(&table), (Verdict::Unobserved, Cause::SamplesLost));
    let mut events = Vec::new();
    table.ended(&pod, &server, &mut |event, view| {
        events.push((event, view.record()));
    });
    assert_eq!(kinds(&events), [Event::Closed]);
    let record = &events[0].1;
    assert_eq!(record.verdict, Verdict::Unobserved);
    assert!(record.closed && record.lost);
    assert_eq!(record.cause, Cause::SamplesLost, "{}", record.reason);
    assert_eq!(table.open().count(), 0);
}
