//! Tests of the packet decoder: every link type, every truncation.

use super::*;
use crate::wire::{Segment, TcpFlags};

/// The segment in an unfragmented packet.
fn segment<'a>(packet: &Packet<'a>) -> Result<Segment<'a>, Skip> {
    match found(packet)? {
        Found::Whole(Decoded::Segment(segment)) => Ok(segment),
        Found::Whole(Decoded::Datagram(_)) => Err(Skip::OtherIp),
        Found::Fragment(_) => Err(Skip::Fragment),
    }
}

/// An IPv4 TCP segment with options in both headers.
fn v4(payload: &[u8]) -> Vec<u8> {
    let mut p = vec![
        0x46, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    p.extend([1, 1, 1, 0]); // IP options
    p.extend(tcp_header());
    p.extend(payload);
    let total = p.len() as u16;
    p[2..4].copy_from_slice(&total.to_be_bytes());
    p
}

fn tcp_header() -> Vec<u8> {
    let mut t = vec![
        0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 7, 0, 0, 0, 9, 0x60, 0x18, 1, 0, 0, 0, 0, 0,
    ];
    t.extend([1, 1, 1, 0]); // options
    t
}

/// An IPv6 TCP segment behind hop-by-hop options, a routing header, an atomic fragment and an authentication header.
fn v6(payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0, 0, 0, 0, 64];
    p.extend([0xfd; 16]);
    p.extend([0xfe; 16]);
    p.extend([43, 0, 0, 0, 0, 0, 0, 0]);
    p.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    p.extend([51, 0, 0, 0, 0, 0, 0, 5]);
    p.extend([6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    p.extend(tcp_header());
    p.extend(payload);
    let length = (p.len() - 40) as u16;
    p[4..6].copy_from_slice(&length.to_be_bytes());
    p
}

fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
    Packet {
        time: 1,
        link_type: link,
        data,
        original: data.len(),
    }
}

fn framed(link: LinkType, ip: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if ip[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    let head: Vec<u8> = match link {
        LinkType::ETHERNET => [&[2; 12][..], &kind].concat(),
        LinkType::LINUX_SLL => [&[0; 14][..], &kind].concat(),
        LinkType::LINUX_SLL2 => [&kind[..], &[0; 18]].concat(),
        LinkType::NULL => vec![if ip[0] >> 4 == 4 { 2 } else { 30 }, 0, 0, 0],
        LinkType::LOOP => vec![0, 0, 0, if ip[0] >> 4 == 4 { 2 } else { 24 }],
        _ => vec![],
    };
    [head, ip.to_vec()].concat()
}

const LINKS: [LinkType; 8] = [
    LinkType::ETHERNET,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::RAW,
    LinkType::RAW_BSD,
    LinkType::RAW_OPENBSD,
];

fn check(data: &[u8], link: LinkType, payload: &[u8], src: &str) {
    let segment = segment(&packet(link, data)).unwrap_or_else(|e| panic!("{link:?}: {e:?}"));
    assert_eq!(segment.src.to_string(), src, "{link:?}");
    assert_eq!((segment.seq, segment.ack), (7, 9));
    assert_eq!(segment.flags, TcpFlags(TcpFlags::PSH | TcpFlags::ACK));
    assert_eq!(
        (segment.payload, segment.len as usize),
        (payload, payload.len())
    );
}

#[test]
fn every_link_type_and_both_families() {
    for link in LINKS {
        check(
            &framed(link, &v4(b"hello")),
            link,
            b"hello",
            "10.0.0.1:40000",
        );
        let v6_src = "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:40000";
        check(&framed(link, &v6(b"hello")), link, b"hello", v6_src);
    }
    check(&v4(b""), LinkType::IPV4, b"", "10.0.0.1:40000");
    assert_eq!(
        segment(&packet(LinkType::IPV4, &v6(b""))).unwrap_err(),
        Skip::Malformed
    );
    assert_eq!(
        segment(&packet(LinkType(147), &v4(b""))).unwrap_err(),
        Skip::LinkType
    );
}

#[test]
fn vlan_tags_and_ethernet_padding() {
    let mut frame = vec![2; 12];
    frame.extend([0x88, 0xa8, 0, 1, 0x81, 0x00, 0, 2, 0x08, 0x00]);
    frame.extend(v4(b"x"));
    frame.extend([0; 17]);
    check(&frame, LinkType::ETHERNET, b"x", "10.0.0.1:40000");
}

#[test]
fn snap_length_cuts_bytes_not_length() {
    let whole = framed(LinkType::ETHERNET, &v4(&[7; 1_000]));
    let cut = Packet {
        original: whole.len(),
        ..packet(LinkType::ETHERNET, &whole[..100])
    };
    let segment = segment(&cut).unwrap();
    assert_eq!(segment.len, 1_000);
    assert_eq!(segment.payload, &[7; 38]);
}

#[test]
fn offloaded_lengths_come_from_the_frame() {
    let mut ip = v4(&[7; 100]);
    ip[2..4].fill(0);
    assert_eq!(segment(&packet(LinkType::RAW, &ip)).unwrap().len, 100);
    let mut ip = v6(&[7; 100]);
    ip[4..6].fill(0);
    assert_eq!(segment(&packet(LinkType::RAW, &ip)).unwrap().len, 100);
}

#[test]
fn incomplete_fragments_are_counted() {
    let mut decoder = Decoder::default();
    for (flags, offset) in [(0x20, 0), (0, 1), (0x20, 1)] {
        let mut ip = v4(b"x");
        ip[4] = flags + offset;
        ip[6] = flags;
        ip[7] = offset;
        assert!(decoder.decode(&packet(LinkType::RAW, &ip)).is_none());
    }
    let mut ip = v6(b"x");
    ip[40 + 8 + 16 + 3] = 1; // more fragments
    assert!(decoder.decode(&packet(LinkType::RAW, &ip)).is_none());
    decoder.finish();
    assert_eq!(decoder.incomplete().count(), 4);
    assert_eq!(decoder.skips.of(Skip::Fragment), 4);
    assert_eq!(decoder.skips.to_string(), "4 incomplete IP fragments");
}

/// An IPv4 packet in fragments of `n` bytes.
fn fragments_v4(ip: &[u8], n: usize) -> Vec<Vec<u8>> {
    let header = usize::from(ip[0] & 15) * 4;
    let parts: Vec<_> = ip[header..].chunks(n).collect();
    let last = parts.len() - 1;
    let packet = |(at, part): (usize, &&[u8])| {
        let mut head = ip[..header].to_vec();
        let field = (at * n / 8) as u16 | if at == last { 0 } else { 0x2000 };
        head[2..4].copy_from_slice(&((header + part.len()) as u16).to_be_bytes());
        head[6..8].copy_from_slice(&field.to_be_bytes());
        [&head, *part].concat()
    };
    parts.iter().enumerate().map(packet).collect()
}

#[test]
fn fragments_are_put_together() {
    let whole = v4(&[7; 500]);
    let mut decoder = Decoder::default();
    for n in [8, 24, 496] {
        let mut parts = fragments_v4(&whole, n);
        parts.reverse();
        let (last, before) = parts.split_last().unwrap();
        for part in before {
            assert!(decoder.decode(&packet(LinkType::RAW, part)).is_none());
        }
        let Some(Decoded::Segment(segment)) = decoder.decode(&packet(LinkType::RAW, last)) else {
            panic!("not complete");
        };
        assert_eq!((segment.seq, segment.len), (7, 500));
        assert_eq!(segment.payload, [7; 500]);
    }
    // For IPv6, the fragment header is removed.
    let mut parts = Vec::new();
    let tcp = [tcp_header(), vec![9; 40]].concat();
    for (at, part) in tcp.chunks(32).enumerate() {
        let more = u8::from(32 * (at + 1) < tcp.len());
        let mut ip = vec![0x60, 0, 0, 0, 0, 8 + part.len() as u8, 44, 64];
        ip.extend([0xfd; 16]);
        ip.extend([0xfe; 16]);
        ip.extend([6, 0, 0, (at as u8 * 32) | more, 1, 2, 3, 4]);
        ip.extend(part);
        parts.push(ip);
    }
    assert!(decoder.decode(&packet(LinkType::RAW, &parts[0])).is_none());
    let Some(Decoded::Segment(segment)) = decoder.decode(&packet(LinkType::RAW, &parts[1])) else {
        panic!("not complete");
    };
    assert_eq!((segment.seq, segment.payload), (7, &[9; 40][..]));
    decoder.finish();
    assert_eq!(decoder.incomplete().count(), 0);
    assert_eq!(decoder.skips.total(), 0);
}

fn ip_around(protocol: u8, inside: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    ip.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    ip.extend(inside);
    let total = ip.len() as u16;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip
}

fn udp_around(port: u16, head: &[u8], inside: &[u8]) -> Vec<u8> {
    let mut udp = vec![0xc0, 0];
    udp.extend(port.to_be_bytes());
    udp.extend(((8 + head.len() + inside.len()) as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(head);
    udp.extend(inside);
    ip_around(17, &udp)
}

#[test]
fn tunnels_are_looked_through() {
    let inner = v4(b"hello");
    let frame = framed(LinkType::ETHERNET, &inner);
    let mut tagged = vec![2; 12];
    tagged.extend([0x81, 0, 0, 5, 8, 0]);
    tagged.extend(&inner);
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let gpe = [0x0c, 0, 0, 1, 0, 0, 7, 0];
    let all = [
        ("IP in IP", ip_around(4, &inner)),
        ("VXLAN", udp_around(4789, &vxlan, &frame)),
        ("VXLAN with a tag", udp_around(4789, &vxlan, &tagged)),
        ("VXLAN on Linux's port", udp_around(8472, &vxlan, &frame)),
        ("VXLAN GPE", udp_around(4789, &gpe, &inner)),
        (
            "Geneve",
            udp_around(6081, &[1, 0, 0x65, 0x58, 0, 0, 7, 0, 9, 9, 9, 9], &frame),
        ),
        (
            "Geneve with IP",
            udp_around(6081, &[0, 0, 8, 0, 0, 0, 7, 0], &inner),
        ),
        ("GRE", ip_around(47, &[&[0, 0, 8, 0], &inner[..]].concat())),
        (
            "GRE with key and checksum",
            ip_around(
                47,
                &[&[0xa0, 0, 0x65, 0x58, 1, 1, 0, 0, 2, 2, 2, 2], &frame[..]].concat(),
            ),
        ),
        (
            "ERSPAN I",
            ip_around(47, &[&[0, 0, 0x88, 0xbe], &frame[..]].concat()),
        ),
        (
            "ERSPAN II",
            ip_around(
                47,
                &[
                    &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0],
                    &frame[..],
                ]
                .concat(),
            ),
        ),
        (
            "ERSPAN III",
            ip_around(
                47,
                &[
                    &[
                        0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                    ],
                    &[0; 8][..],
                    &frame[..],
                ]
                .concat(),
            ),
        ),
        (
            "MPLS in IP",
            ip_around(137, &[&[0, 0, 0, 64, 0, 0, 0x11, 64], &inner[..]].concat()),
        ),
        (
            "GTP-U",
            udp_around(2152, &[0x30, 255, 0, 0, 0, 0, 0, 7], &inner),
        ),
        (
            "GTP-U with an extension header",
            udp_around(
                2152,
                &[0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85, 1, 0, 0, 0],
                &inner,
            ),
        ),
        (
            "AH",
            ip_around(
                51,
                &[&[4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &inner[..]].concat(),
            ),
        ),
        (
            "VXLAN in GRE",
            ip_around(
                47,
                &[&[0, 0, 8, 0], &udp_around(4789, &vxlan, &frame)[..]].concat(),
            ),
        ),
    ];
    for (name, outer) in &all {
        println!("{name}");
        check(outer, LinkType::RAW, b"hello", "10.0.0.1:40000");
        for end in 0..outer.len() {
            let cut = Packet {
                original: outer.len(),
                ..packet(LinkType::RAW, &outer[..end])
            };
            match segment(&cut) {
                Ok(segment) => assert!(segment.payload.len() < 5 && segment.len == 5, "{end}"),
                Err(skip) => assert!(
                    matches!(skip, Skip::Short | Skip::OtherIp),
                    "{skip:?} at {end}"
                ),
            }
        }
    }
    // … but not without limit.
    let mut deep = inner;
    for _ in 0..5 {
        deep = ip_around(4, &deep);
    }
    assert_eq!(
        segment(&packet(LinkType::RAW, &deep)).unwrap_err(),
        Skip::Tunnel
    );
}

#[test]
fn tags_and_labels_are_looked_through() {
    let heads: [&[u8]; 8] = [
        // 802.1ad, 802.1Q, and the older 0x9100.
        &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0],
        &[0x91, 0, 0, 1, 0x81, 0, 0, 2, 8, 0],
        // Cisco metadata with a security group tag.
        &[0x89, 0x09, 1, 1, 0, 1, 0, 42, 8, 0],
        &[0x81, 0, 0, 5, 0x89, 0x09, 1, 1, 0, 1, 0, 42, 8, 0],
        // MPLS: two labels, and a pseudowire.
        &[0x88, 0x47, 0, 0, 0, 64, 0, 0, 0x11, 64],
        &[
            0x88, 0x47, 0, 0, 0x11, 64, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0,
        ],
        // PPPoE, and a SNAP header.
        &[0x88, 0x64, 0x11, 0, 0, 1, 0, 60, 0, 0x21],
        &[0, 60, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
    ];
    for head in heads {
        let frame = [&[2; 12], head, &v4(b"hello")].concat();
        check(&frame, LinkType::ETHERNET, b"hello", "10.0.0.1:40000");
    }
    for ppp in [&[0xff, 3, 0, 0x21][..], &[0, 0x21], &[0x21]] {
        let frame = [ppp, &v4(b"hello")].concat();
        check(&frame, LinkType::PPP, b"hello", "10.0.0.1:40000");
    }
}

#[test]
fn what_is_skipped_has_a_kind() {
    let kinds = [
        (
            [&[2; 12][..], &[0x88, 0xcc], &[0; 28]].concat(),
            Skip::NotIp,
        ),
        ([&[2; 12][..], &[8, 6], &[0; 28]].concat(), Skip::NotIp),
        (
            [&[2; 12][..], &[0x88, 0xe5], &[0; 28]].concat(),
            Skip::Encrypted,
        ),
        (
            framed(LinkType::ETHERNET, &ip_around(1, &[8; 8])),
            Skip::Icmp,
        ),
        (
            framed(LinkType::ETHERNET, &ip_around(132, &[0; 12])),
            Skip::Sctp,
        ),
        (
            framed(LinkType::ETHERNET, &ip_around(50, &[0; 12])),
            Skip::Encrypted,
        ),
        (
            framed(LinkType::ETHERNET, &ip_around(89, &[0; 12])),
            Skip::OtherIp,
        ),
        // PPTP, and a tunnel with other contents.
        (
            framed(
                LinkType::ETHERNET,
                &ip_around(47, &[0x30, 1, 0x88, 0x0b, 0, 0, 0, 0]),
            ),
            Skip::Tunnel,
        ),
        (
            framed(
                LinkType::ETHERNET,
                &ip_around(47, &[0, 0, 0xaa, 0xaa, 0, 0]),
            ),
            Skip::Tunnel,
        ),
    ];
    let mut decoder = Decoder::default();
    for (frame, skip) in &kinds {
        assert_eq!(
            segment(&packet(LinkType::ETHERNET, frame)).unwrap_err(),
            *skip
        );
        decoder.decode(&packet(LinkType::ETHERNET, frame));
    }
    assert_eq!(decoder.skips.total(), kinds.len() as u64);
    let told: std::collections::BTreeMap<_, _> = decoder.skips.by_name().collect();
    assert_eq!(told["encrypted"], 2);
    assert!(!told.contains_key("fragments"));
}

#[test]
fn a_mapped_address_is_reported_as_it_was_sent() {
    let mut ip = v6(b"x");
    ip[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
    check(&ip, LinkType::RAW, b"x", "[::ffff:10.0.0.1]:40000");
}

#[test]
fn every_truncation_is_short_or_has_fewer_bytes() {
    for link in LINKS {
        for ip in [v4(b"hello"), v6(b"hello")] {
            let whole = framed(link, &ip);
            for end in 0..whole.len() {
                let cut = Packet {
                    original: whole.len(),
                    ..packet(link, &whole[..end])
                };
                match segment(&cut) {
                    Ok(segment) => assert!(segment.payload.len() < 5 && segment.len == 5),
                    Err(skip) => assert_eq!(skip, Skip::Short, "{link:?} at {end}"),
                }
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(link in 0u16..300, data: Vec<u8>, original: u32) {
        let p = Packet { time: 0, link_type: LinkType(link), data: &data, original: original as usize };
        if let Some(Decoded::Segment(segment)) = Decoder::default().decode(&p) {
            proptest::prop_assert!(segment.payload.len() <= segment.len as usize);
        }
    }
}
