//! Tests of the packet decoder: every link type, every truncation.

use super::*;

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
fn fragments_are_counted_and_skipped() {
    let mut decoder = Decoder::default();
    for (flags, offset) in [(0x20, 0), (0, 1), (0x20, 1)] {
        let mut ip = v4(b"x");
        ip[6] = flags;
        ip[7] = offset;
        assert!(decoder.decode(&packet(LinkType::RAW, &ip)).is_none());
    }
    let mut ip = v6(b"x");
    ip[40 + 8 + 16 + 3] = 1; // more fragments
    assert!(decoder.decode(&packet(LinkType::RAW, &ip)).is_none());
    assert_eq!(
        decoder.skips,
        Skips {
            fragments: 4,
            ..Skips::default()
        }
    );
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
        if let Ok(segment) = segment(&p) {
            proptest::prop_assert!(segment.payload.len() <= segment.len as usize);
        }
    }
}
