use super::*;
use crate::record::{FlowRecord, Verdict};
use crate::wire::{Direction, Endpoint, Segment, TcpFlags};

mod hostile;
mod losses;
mod pairs;
mod properties;
mod scene;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;
const RST: u8 = TcpFlags::RST;

fn end(last: u8, port: u16) -> Endpoint {
    Endpoint::new([10, 0, 0, last].into(), port)
}

fn segment(src: Endpoint, dst: Endpoint, seq: u32, ack: u32, flags: u8) -> Segment<'static> {
    Segment {
        time: 1,
        link: 0,
        direction: Direction::Unknown,
        src,
        dst,
        seq,
        ack,
        flags: TcpFlags(flags),
        len: 0,
        payload: &[],
        checksum: crate::wire::Checksum::Unknown,
        isn: (None, None),
        midstream: false,
        again: false,
        lost: false,
        foreign: false,
        inside: false,
    }
}

fn data(mut s: Segment<'static>, bytes: &'static [u8]) -> Segment<'static> {
    s.len = bytes.len() as u32;
    s.payload = bytes;
    s
}

fn run(table: &mut FlowTable, segments: &[Segment<'_>]) -> Vec<(Event, FlowRecord)> {
    let mut events = Vec::new();
    for s in segments {
        table.observe(s, &mut |event, view| events.push((event, view.record())));
    }
    events
}

/// A RST is reported when nothing has followed it for a while.
fn a_while_later(table: &mut FlowTable) -> Vec<(Event, FlowRecord)> {
    let mut events = Vec::new();
    table.expire(2_000_000_000, &mut |event, view| {
        events.push((event, view.record()));
    });
    events
}

fn kinds(events: &[(Event, FlowRecord)]) -> Vec<Event> {
    events.iter().map(|(event, _)| *event).collect()
}

#[test]
fn a_connection_opens_once_and_closes_with_its_bytes() {
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    let events = run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
            segment(a, b, 100, 500, ACK),
            data(segment(a, b, 100, 500, ACK), b"GET / HTTP/1.1\r\n\r\n"),
            data(segment(b, a, 500, 118, ACK), b"HTTP/1.1 200 OK\r\n\r\n"),
            segment(a, b, 118, 519, ACK | FIN),
            segment(b, a, 519, 119, ACK | FIN),
            segment(a, b, 119, 520, ACK),
        ],
    );
    assert_eq!(events.first().map(|e| e.0), Some(Event::Opened));
    let (last, record) = events.last().unwrap();
    assert_eq!(*last, Event::Closed);
    assert_eq!(
        kinds(&events)
            .iter()
            .filter(|e| **e == Event::Closed)
            .count(),
        1
    );
    assert_eq!(record.src.port, Some(40_000));
    assert_eq!(record.id.as_deref(), Some("c4396a12f63f53ce"));
    assert_eq!(
        (record.bytes.client, record.bytes.server),
        (Some(18), Some(19))
    );
    assert!(record.closed);
    assert_eq!(table.stats().seen, 1);
}

#[test]
fn a_fin_is_the_end_where_the_other_direction_is_never_seen() {
    let (a, b) = (end(1, 40_000), end(2, 80));
    let half = [
        segment(a, b, 99, 0, SYN),
        data(segment(a, b, 100, 500, ACK), b"GET / HTTP/1.1\r\n\r\n"),
        segment(a, b, 118, 519, ACK | FIN),
    ];
    let closed_by = |second: u64, segments: &[Segment<'_>]| {
        let mut table = FlowTable::new(Limits::default());
        let mut events = run(&mut table, segments);
        assert!(!kinds(&events).contains(&Event::Closed));
        table.expire(second * 1_000_000_000, &mut |event, view| {
            events.push((event, view.record()));
        });
        let (last, record) = events.pop().unwrap();
        (last == Event::Closed).then_some(record)
    };
    assert!(closed_by(9, &half).is_none());
    let record = closed_by(11, &half).unwrap();
    assert_eq!(record.verdict, Verdict::Plaintext);
    assert!(
        record
            .unseen
            .contains(&crate::record::Unseen::Direction.into())
    );
    // Half closed is not closed: the response may take time.
    let answered = segment(b, a, 499, 100, SYN | ACK);
    let mut slow = half.to_vec();
    slow.insert(1, answered);
    assert!(closed_by(11, &slow).is_none());
}

#[test]
fn an_answer_alone_is_plaintext_where_nothing_else_speaks_like_it() {
    fn verdict_of(answer: &'static [u8]) -> crate::record::Word<Verdict> {
        let (a, b) = (end(1, 40_000), end(2, 80));
        let end = 500 + answer.len() as u32;
        let half = [
            segment(b, a, 499, 100, SYN | ACK),
            data(segment(b, a, 500, 118, ACK), answer),
            segment(b, a, end, 119, ACK | FIN),
        ];
        let mut table = FlowTable::new(Limits::default());
        let mut events = run(&mut table, &half);
        table.expire(11_000_000_000, &mut |event, view| {
            events.push((event, view.record()));
        });
        events.pop().unwrap().1.verdict
    }
    let content: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(verdict_of(content), Verdict::Plaintext);
    let refused: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(verdict_of(refused), Verdict::Plaintext);
    // What a proxy may send before TLS proves nothing, and neither does a greeting that it may
    // follow.
    let tunnel: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
    assert_eq!(verdict_of(tunnel), Verdict::Unobserved);
    let counted: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(verdict_of(counted), Verdict::Unobserved);
    let hello: &[u8] = &[22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3];
    for head in [tunnel, counted] {
        let turned = [head, hello].concat().leak();
        assert_ne!(verdict_of(turned), Verdict::Plaintext);
    }
    let greeting: &[u8] = b"220 mail.example ESMTP\r\n250-mail.example\r\n250 STARTTLS\r\n";
    assert_ne!(verdict_of(greeting), Verdict::Plaintext);
}

#[test]
fn a_port_used_again_is_a_new_connection() {
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    let events = run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
            segment(a, b, 99, 0, SYN),
            segment(a, b, 7_000, 0, SYN),
            segment(b, a, 9_000, 7_001, SYN | ACK),
        ],
    );
    assert_eq!(
        kinds(&events),
        [Event::Opened, Event::Closed, Event::Opened]
    );
    assert!(!events[1].1.closed, "its end was not seen");
}

#[test]
fn acknowledgements_alone_open_nothing_and_late_ones_reopen_nothing() {
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    assert!(run(&mut table, &[segment(a, b, 5, 6, ACK)]).is_empty());
    assert_eq!(table.stats().stray, 1);
    let mut events = run(
        &mut table,
        &[
            segment(a, b, 99, 0, SYN),
            segment(b, a, 499, 100, SYN | ACK),
            segment(b, a, 500, 100, RST | ACK),
            segment(a, b, 100, 500, ACK),
        ],
    );
    events.extend(a_while_later(&mut table));
    events.extend(run(&mut table, &[segment(a, b, 100, 500, ACK)]));
    assert_eq!(kinds(&events), [Event::Opened, Event::Closed]);
    assert_eq!(table.stats().seen, 1);
}

#[test]
fn an_older_connection_is_said_to_be_one() {
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    let s = data(segment(b, a, 500, 118, ACK), b"abc");
    let events = run(&mut table, &[s]);
    assert_eq!(events[0].1.origin, crate::record::Origin::Midstream);
    assert_eq!(events[0].1.dst.port, Some(80));
    assert_eq!(events[0].1.id, None);
    assert_eq!(events[0].1.src.port, Some(40_000));
}

#[test]
fn halves_across_a_translation_are_one_connection() {
    let (pod, service, server) = (end(1, 40_000), end(200, 80), end(2, 8_080));
    let on = |mut s: Segment<'static>, link, direction| {
        s.link = link;
        s.direction = direction;
        s
    };
    let mut table = FlowTable::new(Limits::default());
    let mut events = run(
        &mut table,
        &[
            on(segment(pod, service, 99, 0, SYN), 5, Direction::Egress),
            on(segment(pod, server, 99, 0, SYN), 6, Direction::Ingress),
            on(
                segment(server, pod, 499, 100, SYN | ACK),
                6,
                Direction::Egress,
            ),
            on(
                segment(service, pod, 499, 100, SYN | ACK),
                5,
                Direction::Ingress,
            ),
            on(
                data(segment(pod, service, 100, 500, ACK), b"x"),
                5,
                Direction::Egress,
            ),
            on(
                data(segment(pod, server, 100, 500, ACK), b"x"),
                6,
                Direction::Ingress,
            ),
            on(
                segment(server, pod, 500, 101, RST | ACK),
                6,
                Direction::Egress,
            ),
            on(
                segment(service, pod, 500, 101, RST | ACK),
                5,
                Direction::Ingress,
            ),
        ],
    );
    events.extend(a_while_later(&mut table));
    assert_eq!(kinds(&events)[0], Event::Opened);
    let closed: Vec<_> = events.iter().filter(|e| e.0 == Event::Closed).collect();
    assert_eq!(closed.len(), 1);
    let record = &closed[0].1;
    assert_eq!(
        (record.src.ip, record.src.port),
        (Some(pod.ip()), Some(40_000))
    );
    assert_eq!(
        (record.dst.ip, record.dst.port),
        (Some(server.ip()), Some(8_080))
    );
    assert_eq!(record.links, [6, 5]);
    assert_eq!(table.stats().joined, 1);
    assert_eq!(table.stats().seen, 1);
}

#[test]
fn of_two_halves_the_one_that_knows_speaks() {
    let (pod, service, server) = (end(1, 40_000), end(200, 80), end(2, 8_080));
    let on = |mut s: Segment<'static>, link| {
        s.link = link;
        s
    };
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let end = 100 + request.len() as u32;
    let mut table = FlowTable::new(Limits::default());
    // The half at the client's interface is reported for both, and sees each packet last.
    let events = run(
        &mut table,
        &[
            on(segment(pod, service, 99, 0, SYN), 5),
            on(segment(service, pod, 499, 100, SYN | ACK), 5),
            on(segment(pod, server, 99, 0, SYN), 6),
            on(segment(server, pod, 499, 100, SYN | ACK), 6),
            on(data(segment(pod, server, 100, 500, ACK), request), 6),
            on(data(segment(pod, service, 100, 500, ACK), request), 5),
            on(data(segment(server, pod, 500, end, ACK), answer), 6),
            on(data(segment(service, pod, 500, end, ACK), answer), 5),
        ],
    );
    assert_eq!(table.stats().joined, 1);
    assert_eq!(kinds(&events)[..2], [Event::Opened, Event::Classified]);
    for (event, record) in &events[1..] {
        assert_eq!(record.verdict, Verdict::Plaintext, "{event:?}");
        assert_ne!(*event, Event::Revised);
    }
}

#[test]
fn the_table_is_bounded_and_lets_the_quietest_go() {
    let mut table = FlowTable::new(Limits {
        flows: 4,
        ..Limits::default()
    });
    let b = end(2, 80);
    let mut closed = Vec::new();
    for port in 0..100 {
        let s = data(segment(end(1, 40_000 + port), b, 1, 1, ACK), b"\0\0\0\0");
        table.observe(&s, &mut |event, view| {
            if event == Event::Closed {
                closed.push(view.record().src.port);
            }
        });
    }
    assert_eq!(table.stats().tracked, 4);
    assert_eq!(table.stats().evicted, 96);
    assert_eq!(closed, (40_000..40_096).map(Some).collect::<Vec<_>>());
}

#[test]
fn quiet_connections_expire_and_the_rest_drains() {
    let mut table = FlowTable::new(Limits::default());
    let (a, b) = (end(1, 40_000), end(2, 80));
    let mut late = data(segment(end(3, 40_000), b, 1, 1, ACK), b"x");
    late.time = Limits::default().idle.as_nanos() as u64 + 2;
    run(&mut table, &[data(segment(a, b, 1, 1, ACK), b"x"), late]);
    let mut events = Vec::new();
    table.expire(late.time, &mut |event, view| {
        events.push((event, view.record()));
    });
    assert_eq!(kinds(&events), [Event::Closed]);
    assert_eq!(events[0].1.src.ip, Some(a.ip()));
    table.drain(&mut |event, view| events.push((event, view.record())));
    assert_eq!(kinds(&events), [Event::Closed, Event::Closed]);
    assert_eq!(table.stats().tracked, 0);
}
