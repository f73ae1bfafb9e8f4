//! Which UDP flows the table separates, merges and evicts.

use std::time::Duration;

use super::DatagramTable;
use crate::capture::{Capture, Decoded, Decoder};
use crate::flow::{Event, Limits, Loss};
use crate::record::{FlowRecord, Unseen, Verdict, Word};
use crate::wire::{Datagram, Direction, Endpoint, Unread, What};

const SECOND: u64 = 1_000_000_000;
const MESSAGE: &[u8] = b"<34>1 2026-01-01T00:00:00Z web app - - - hello";

fn datagram(payload: &[u8]) -> Datagram<'_> {
    let end = |last, port| Endpoint::new([10, 0, 0, last].into(), port);
    Datagram {
        time: SECOND,
        link: 7,
        direction: Direction::Egress,
        src: end(1, 5140),
        dst: end(2, 514),
        len: payload.len() as u32,
        payload,
        midstream: false,
        lost: false,
        foreign: false,
        paused: false,
    }
}

fn table() -> DatagramTable {
    DatagramTable::new(Limits {
        recheck: Duration::from_mins(1),
        ..Limits::default()
    })
}

fn observe(table: &mut DatagramTable, datagram: &Datagram<'_>) {
    table.observe(datagram, &mut |_, _| ());
}

/// The reports of the flows that have ended by `now`.
fn over(table: &mut DatagramTable, now: u64) -> Vec<FlowRecord> {
    let mut records = Vec::new();
    table.expire(now, &mut |event, view| {
        assert_eq!(event, Event::Closed);
        records.push(view.record());
    });
    records
}

fn all(mut table: DatagramTable) -> Vec<FlowRecord> {
    over(&mut table, u64::MAX)
}

#[test]
fn a_quiet_flow_is_over_and_a_paused_one_only_after_the_next_recheck() {
    let mut table = table();
    observe(&mut table, &datagram(MESSAGE));
    let paused = Datagram {
        src: Endpoint::new([10, 0, 0, 9].into(), 1),
        paused: true,
        ..datagram(MESSAGE)
    };
    observe(&mut table, &paused);
    assert_eq!(over(&mut table, 31 * SECOND), []);
    assert_eq!(over(&mut table, 32 * SECOND).len(), 1);
    for second in 33..92 {
        assert_eq!(over(&mut table, second * SECOND), []);
        assert_eq!(table.stats().tracked, 1);
    }
    assert_eq!(over(&mut table, 92 * SECOND + 30 * SECOND).len(), 1);
    assert_eq!(table.stats().tracked, 0);
}

#[test]
fn the_same_datagram_at_the_next_interface_is_not_another() {
    let mut table = table();
    observe(&mut table, &datagram(MESSAGE));
    let copy = Datagram {
        link: 8,
        direction: Direction::Ingress,
        foreign: true,
        ..datagram(MESSAGE)
    };
    observe(&mut table, &copy);
    let records = all(table);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].lost, &records[0].notes), (false, &vec![]));
    assert!(records[0].reporter == Some(crate::record::Reporter::Both.into()));
}

/// It is a separate flow, and the one that it imitates may lack it.
#[test]
fn what_claims_to_be_of_a_flow_is_another() {
    let mut table = table();
    observe(&mut table, &datagram(MESSAGE));
    let forged = Datagram {
        link: 9,
        foreign: true,
        ..datagram(b"<34>1 2026-01-01T00:00:00Z web app - - - a lie")
    };
    observe(&mut table, &forged);
    observe(&mut table, &forged);
    assert_eq!(table.stats().spoofed, 2);
    let records = all(table);
    assert_eq!(records.len(), 2);
    let [honest, lie] = [&records[0], &records[1]];
    assert!(honest.lost && honest.notes.is_empty());
    assert!(lie.notes[0].starts_with("spoofed: ") && lie.links == [9]);
    assert_ne!(honest.connection, lie.connection);
    assert!(
        records
            .iter()
            .all(|flow| flow.verdict == Verdict::Plaintext)
    );
}

#[test]
fn what_was_not_seen_is_said_of_the_flows_that_it_may_concern() {
    let flow = |unread: Option<What>, loss: Option<Loss>| {
        let mut table = table();
        let first = datagram(MESSAGE);
        observe(&mut table, &first);
        if let Some(what) = unread {
            table.unread(&[Unread {
                time: SECOND,
                link: 7,
                direction: Direction::Egress,
                src: Endpoint {
                    port: 0,
                    ..first.dst
                },
                dst: Endpoint {
                    port: 0,
                    ..first.src
                },
                what,
            }]);
        }
        if let Some(loss) = loss {
            table.lost(&loss);
        }
        let unseen = all(table).remove(0).unseen;
        let known = |what: &Word<Unseen>| what.known();
        unseen.iter().map(known).collect::<Vec<_>>()
    };
    assert_eq!(flow(Some(What::Fragments), None), [Some(Unseen::Fragments)]);
    assert_eq!(flow(Some(What::Udp), None), [Some(Unseen::Samples)]);
    assert_eq!(flow(Some(What::Icmp), None), []);
    let loss = |link, between| Loss {
        what: Unseen::Samples,
        link,
        between,
        since: 0,
        until: 2 * SECOND,
    };
    let (a, b) = (datagram(b"").src.ip, datagram(b"").dst.ip);
    assert_eq!(
        flow(None, Some(loss(Some(7), None))),
        [Some(Unseen::Samples)]
    );
    assert_eq!(flow(None, Some(loss(Some(8), None))), []);
    assert_eq!(
        flow(None, Some(loss(None, Some([b, a])))),
        [Some(Unseen::Samples)]
    );
    assert_eq!(flow(None, Some(loss(None, Some([a, a])))), []);
}

/// Every sample of it was lost, but the kernel's table contains it.
#[test]
fn a_flow_of_which_nothing_was_delivered_is_reported() {
    let mut table = table();
    let silent = Datagram {
        lost: true,
        ..datagram(b"")
    };
    observe(&mut table, &silent);
    let flow = all(table).remove(0);
    assert_eq!(
        (flow.verdict.known(), flow.lost),
        (Some(Verdict::Unobserved), true)
    );
}

/// A pod may replay a handshake, whose tags all verify, from any number of addresses: its
/// connection ID is stored once, and removed with its flow.
#[test]
fn of_one_connection_id_there_is_one_flow() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/datagrams/corpus/pcap/"
    );
    let capture =
        Capture::open(&std::path::Path::new(corpus).join("quic-server-only-quic-go-quic-go.pcap"));
    let (mut decoder, mut table) = (Decoder::default(), table());
    let mut client = None;
    capture
        .expect("open a capture")
        .read(
            |_| (),
            |packet| {
                let Some(Decoded::Datagram(datagram)) = decoder.decode(packet) else {
                    return;
                };
                let client = *client.get_or_insert(datagram.src);
                for last in 0..100 {
                    let replayed = Endpoint::new([10, 9, 9, last].into(), 7);
                    let at = |end| if end == client { replayed } else { end };
                    let (src, dst) = (at(datagram.src), at(datagram.dst));
                    observe(
                        &mut table,
                        &Datagram {
                            src,
                            dst,
                            ..datagram
                        },
                    );
                }
            },
        )
        .expect("read a capture");
    assert_eq!(table.by_id.len(), 1);
    let records = over(&mut table, u64::MAX);
    assert!(records.iter().all(|record| record.verdict == Verdict::Tls));
    assert_eq!(records.len(), 100);
    assert!(table.by_id.is_empty());
}

/// A pod may invent a connection ID per datagram: memory does not grow beyond the table.
#[test]
fn connection_ids_that_are_invented_take_no_more_room_than_the_table_has() {
    const MOST: usize = 1_000;
    let mut table = DatagramTable::new(Limits {
        flows: MOST,
        ..Limits::default()
    });
    let mut ended = 0_u32;
    for number in 0..100_000_u32 {
        // Occasionally a version 1 long header, whose Initial nobody can decrypt.
        let [a, b, c, d] = number.to_be_bytes();
        let long: &[u8] = &[
            0xc3, 0, 0, 0, 1, 8, a, b, c, d, 1, 2, 3, 4, 0, 0, 4, 9, 9, 9, 9,
        ];
        let short: &[u8] = &[
            0x41, a, b, c, d, 1, 2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
        ];
        let payload = if number % 64 == 0 { long } else { short };
        let mut packet = datagram(payload);
        packet.time = SECOND + u64::from(number);
        // From every address of two networks, each of which is used for some of them.
        packet.src = Endpoint::new([10, b, c, d / 4].into(), 4433);
        packet.dst.port = 443;
        table.observe(&packet, &mut |event, _| {
            ended += u32::from(event == Event::Closed);
        });
        assert!(table.by_id.len() <= MOST && table.by_peers.len() <= MOST);
    }
    let stats = table.stats();
    assert_eq!(stats.tracked, MOST);
    assert_eq!(stats.seen, 25_000, "four datagrams of each address");
    assert_eq!(stats.evicted, 25_000 - MOST as u64);
    assert_eq!(u64::from(ended), stats.evicted, "none went in silence");
    assert!(table.queue.len() <= 4 * MOST, "{}", table.queue.len());
}

/// The start of a DTLS handshake message of 32 KB: message number `sequence`, two bytes of it.
fn start_of_message(sequence: u8) -> [u8; 27] {
    let mut bytes = [0; 27];
    bytes[..13].copy_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, sequence, 0, 14]);
    // ClientHello, length, number, offset, length of the fragment.
    bytes[13..25].copy_from_slice(&[1, 0, 0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 2]);
    bytes[25..].copy_from_slice(&[0xfe, 0xfd]);
    bytes
}

#[test]
fn unfinished_handshakes_take_bounded_memory_and_each_is_reported() {
    const LIMIT: usize = 512 << 10;
    const FLOWS: u16 = 1_000;
    let mut table = DatagramTable::new(Limits {
        undecided: LIMIT,
        ..Limits::default()
    });
    observe(&mut table, &datagram(MESSAGE));
    let mut closed = Vec::new();
    for port in 0..FLOWS {
        for sequence in 0..8 {
            let bytes = start_of_message(sequence);
            let it = Datagram {
                src: Endpoint::new([10, 0, 0, 3].into(), 1_024 + port),
                dst: Endpoint::new([10, 0, 0, 2].into(), 443),
                ..datagram(&bytes)
            };
            table.observe(&it, &mut |event, view| {
                if event == Event::Closed {
                    closed.push(view.record());
                }
            });
            assert!(table.budget.held() <= LIMIT, "{}", table.budget.held());
        }
    }
    // What a fragment claims about its message takes no memory.
    let each = LIMIT / (usize::from(FLOWS) + 1 - closed.len());
    assert!(each < 8 << 10, "{each} bytes per flow");
    let (half, at_once): (Vec<_>, Vec<_>) = closed
        .iter()
        .partition(|record| record.dst.port == Some(443));
    assert!(half.len() > usize::from(FLOWS) / 2, "{}", half.len());
    for record in half {
        assert_eq!(record.verdict, Verdict::TlsUnproven);
        assert!(record.unseen.contains(&Unseen::Samples.into()));
    }
    // It was waiting for an answer, and is reported as what it is.
    let [message] = &at_once[..] else {
        panic!("{at_once:?}");
    };
    assert_eq!(message.verdict, Verdict::Plaintext);
    assert_eq!(table.stats().evicted, closed.len() as u64);
    assert_eq!(table.open().count() + closed.len(), usize::from(FLOWS) + 1);
}
