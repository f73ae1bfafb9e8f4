//! Tests that each protocol is recognised by its datagrams, and that look-alikes are not.

use super::*;

fn kept(datagrams: &[Vec<u8>]) -> Vec<Kept> {
    datagrams
        .iter()
        .map(|bytes| Kept {
            bytes: bytes.as_slice().into(),
            len: bytes.len(),
        })
        .collect()
}

fn look(client: &[Vec<u8>], server: &[Vec<u8>]) -> (Found, bool) {
    let (client, server) = (kept(client), kept(server));
    // On ports without an assigned protocol.
    identify(&Talk {
        client: &client,
        server: &server,
        ports: [40_000, 40_001],
    })
}

const QUERY: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04shop\x00\x00\x01\x00\x01";
const ANSWER: &[u8] = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03web\x04shop\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x01";

/// One exchange of each protocol.
fn exchanges() -> Vec<(&'static str, Nature, Vec<u8>, Vec<u8>)> {
    use Nature::{Plain, Sealed};
    let mut all = vec![("dns", Plain, QUERY.to_vec(), ANSWER.to_vec())];

    let mut asked = vec![0x23; 48];
    asked[40..48].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut answer = vec![0x24; 48];
    answer[24..32].copy_from_slice(&asked[40..48]);
    all.push(("ntp", Plain, asked, answer));

    let mut asked = vec![9; 148];
    asked[..8].copy_from_slice(&[1, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd]);
    let mut answer = vec![7; 92];
    answer[..12].copy_from_slice(&[2, 0, 0, 0, 5, 5, 5, 5, 0xaa, 0xbb, 0xcc, 0xdd]);
    all.push(("wireguard", Sealed, asked, answer));

    let mut asked = vec![0x11; 8];
    asked.extend([0; 8]);
    asked.extend([33, 0x20, 34, 8, 0, 0, 0, 0, 0, 0, 0, 40]);
    asked.extend([0; 12]);
    let mut answer = asked.clone();
    answer[8..16].fill(0x22);
    all.push(("ike", Sealed, asked, answer));

    let asked = vec![0x38, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0];
    let mut answer = vec![0x40, 9, 9, 9, 9, 9, 9, 9, 9, 1, 0, 0, 0, 0];
    answer.extend([1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
    all.push(("openvpn", Sealed, asked, answer));

    // GET /a, piggybacked content.
    let asked = vec![0x42, 1, 0x12, 0x34, 7, 8, 0xb1, b'a'];
    let answer = vec![0x62, 0x45, 0x12, 0x34, 7, 8, 0xff, b'x'];
    all.push(("coap", Plain, asked.clone(), answer.clone()));
    // The same under OSCORE: option 9.
    let asked = vec![0x42, 2, 0x12, 0x34, 7, 8, 0x91, 9, 0xff, 1];
    all.push(("coap", Sealed, asked, answer));

    let attribute = [1, 5, b'b', b'o', b'b'];
    let radius = |code: u8| {
        let mut bytes = vec![code, 7, 0, 25];
        bytes.extend([3; 16]);
        bytes.extend(attribute);
        bytes
    };
    all.push(("radius", Plain, radius(1), radius(2)));

    let frame = |text: &str| {
        let mut bytes = vec![0, 9, 0, 0, 0, 1, 0, 0];
        bytes.extend(text.as_bytes());
        bytes
    };
    let (asked, answer) = (frame("get key\r\n"), frame("VALUE key 0 1\r\nx\r\nEND\r\n"));
    all.push(("memcached", Plain, asked, answer));

    let stun = |kind: u16| {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
        bytes.extend([6; 12]);
        bytes
    };
    all.push(("stun", Plain, stun(1), stun(0x101)));
    all.push(("turn", Plain, stun(3), stun(0x113)));

    let asked = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\n\r\n".to_vec();
    let answer = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\n\r\n".to_vec();
    all.push(("sip", Plain, asked, answer));
    all
}

#[test]
fn an_answer_makes_sure() {
    for (name, nature, asked, answer) in exchanges() {
        let (found, swap) = look(std::slice::from_ref(&asked), std::slice::from_ref(&answer));
        let Found::Sure(other, n) = found else {
            assert!(
                matches!(found, Found::Likely(other, n) if other == name && n == nature),
                "{name}: {found:?}"
            );
            continue;
        };
        assert_eq!((other, n, swap), (name, nature, false));
    }
}

/// Each is recognised, whichever side is seen first; truncated anywhere, it is nothing else.
#[test]
fn the_sides_may_be_swapped_and_the_datagrams_cut() {
    for (name, _, asked, answer) in exchanges() {
        let (found, _) = look(std::slice::from_ref(&answer), std::slice::from_ref(&asked));
        assert!(
            matches!(found, Found::Sure(n, _) | Found::Likely(n, _) if n == name),
            "{name}: {found:?}"
        );
        for n in 0..asked.len() {
            let (found, _) = look(&[asked[..n].to_vec()], std::slice::from_ref(&answer));
            match found {
                Found::No => {}
                Found::Likely(other, _) | Found::Sure(other, _) => {
                    assert_eq!(other, name, "of {n}");
                }
            }
        }
    }
}

#[test]
fn what_is_only_sent_fits_to_the_last_byte() {
    let mut netflow = vec![0, 5, 0, 1];
    netflow.resize(72, 1);
    let mut ipfix = vec![0, 10, 0, 24];
    ipfix.extend([1; 12]);
    ipfix.extend([1, 0, 0, 8, 1, 1, 1, 1]);
    for (name, datagram) in [
        (
            "statsd",
            b"shop.orders:1|c|@0.1|#env:prod\nshop.latency:12.5|ms\n".to_vec(),
        ),
        (
            "syslog",
            b"<34>1 2026-01-02T03:04:05Z web app - - - hello".to_vec(),
        ),
        ("syslog", b"<13>Feb  5 17:32:18 web app: hello".to_vec()),
        (
            "gelf",
            b"{\"version\":\"1.1\",\"host\":\"web\",\"short_message\":\"x\"}".to_vec(),
        ),
        ("netflow", netflow),
        ("ipfix", ipfix),
        ("jaeger", b"\x82\x81\x01\x09emitBatch\x1c".to_vec()),
        ("memberlist", b"\x00\x82\xa5SeqNo\x01\xa4Node\xa1a".to_vec()),
    ] {
        let (found, _) = look(std::slice::from_ref(&datagram), &[]);
        let known = matches!(found, Found::Sure(n, Nature::Plain) | Found::Likely(n, Nature::Plain) if n == name);
        assert!(known, "{name}: {found:?}");
        // With other bytes next to it, it is not that protocol.
        let noise: Vec<u8> = (0..60).map(|n: u8| n.wrapping_mul(83) ^ 0x95).collect();
        assert_eq!(look(&[datagram, noise], &[]).0, Found::No, "{name}");
    }
}

#[test]
fn counters_show_wireguard_in_the_middle() {
    let data = |counter: u8| {
        let mut bytes = vec![4, 0, 0, 0, 1, 2, 3, 4, counter, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([9; 48]);
        bytes
    };
    let sure = (Found::Sure("wireguard", Nature::Sealed), false);
    assert_eq!(look(&[data(1), data(2), data(3)], &[]), sure);
    assert_eq!(look(&[data(3), data(2), data(3)], &[]).0, Found::No);
}

#[test]
fn numbers_show_rtp_and_not_whether_it_is_encrypted() {
    let packet = |n: u8| {
        let mut bytes = vec![0x80, 0, 0, n, 0, 0, n, 0, 1, 2, 3, 4];
        bytes.extend([0xd5; 160]);
        bytes
    };
    let sure = Found::Sure("rtp", Nature::Unknown);
    assert_eq!(look(&[packet(1), packet(2), packet(3)], &[]).0, sure);
    assert_eq!(look(&[packet(1), packet(90), packet(3)], &[]).0, Found::No);
}

/// Random bytes are not recognised.
#[test]
fn noise_has_no_name() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let mut datagrams = (0..4).map(|_| {
            let len = 1 + next() as usize % 200;
            (0..len).map(|_| next() as u8).collect::<Vec<u8>>()
        });
        let client: Vec<_> = datagrams.by_ref().take(2).collect();
        let server: Vec<_> = datagrams.collect();
        let (found, _) = look(&client, &server);
        assert!(
            !matches!(found, Found::Sure(..)),
            "{found:?} {client:x?} {server:x?}"
        );
    }
}
