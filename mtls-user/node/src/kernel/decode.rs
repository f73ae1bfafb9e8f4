//! Converts an event of the kernel program to the [`Segment`]s or [`Datagram`]s that it represents.

use mtls_core::wire::{Checksum, Datagram, Direction, Endpoint, Segment, TcpFlags, Unread, What};
use mtls_ebpf_common::{
    Counter, Flow, Half, Head,
    event::{self, View},
    flow::{FLOW_MIDSTREAM, HALF_CLIENT, HALF_DONE, HALF_FIN, HALF_ISN, HALF_RST, LINK_EGRESS},
};

/// The segment of an event, without bytes.
fn whole<'a>(head: &Head, boot: u64) -> Segment<'a> {
    let has = |bit| head.bits & bit != 0;
    Segment {
        time: boot.wrapping_add(head.time),
        link: head.ifindex,
        direction: direction(has(event::EGRESS)),
        src: endpoint(head.src, head.src_port, has(event::V6)),
        dst: endpoint(head.dst, head.dst_port, has(event::V6)),
        seq: head.seq,
        ack: head.ack,
        flags: TcpFlags(head.tcp_flags),
        len: head.len,
        payload: &[],
        checksum: Checksum::Unknown,
        isn: (
            has(event::SENDER_ISN).then_some(head.isn[0]),
            has(event::RECEIVER_ISN).then_some(head.isn[1]),
        ),
        midstream: has(event::MIDSTREAM),
        again: has(event::AGAIN),
        lost: has(event::LOST),
        foreign: has(event::FOREIGN),
        inside: false,
    }
}

/// `v6`: the packet is IPv6, whatever the address looks like.
fn endpoint(ip: [u8; 16], port: u16, v6: bool) -> Endpoint {
    if v6 {
        Endpoint::v6(ip, port)
    } else {
        Endpoint {
            ip,
            port,
            mapped_on_wire: false,
        }
    }
}

fn direction(egress: bool) -> Direction {
    if egress {
        Direction::Egress
    } else {
        Direction::Ingress
    }
}

/// A segment of the other side, as the same interface sees it.
fn back<'a>(segment: &Segment<'a>) -> Segment<'a> {
    Segment {
        direction: direction(segment.direction == Direction::Ingress),
        src: segment.dst,
        dst: segment.src,
        isn: (segment.isn.1, segment.isn.0),
        ack: 0,
        again: false,
        foreign: false,
        ..*segment
    }
}

/// The known SYNs of `segment`'s connection, which was first seen at `opened`. `alone`: only those
/// of the side that sent `segment`, because nothing of the other was ever seen.
fn opening(
    segment: &Segment<'_>,
    sender_is_client: bool,
    alone: bool,
    opened: u64,
    f: &mut impl FnMut(&Segment<'_>),
) {
    let (client, server) = if sender_is_client {
        (*segment, back(segment))
    } else {
        (back(segment), *segment)
    };
    let syn = |side: &Segment<'_>, isn, ack: Option<u32>| Segment {
        time: opened,
        seq: isn,
        ack: ack.map_or(0, |isn| isn.wrapping_add(1)),
        flags: TcpFlags(TcpFlags::SYN | ack.map_or(0, |_| TcpFlags::ACK)),
        len: 0,
        payload: &[],
        checksum: Checksum::Unknown,
        again: false,
        foreign: false,
        ..*side
    };
    if let Some(isn) = client.isn.0
        && (sender_is_client || !alone)
    {
        f(&Segment {
            // The other one came later.
            isn: (Some(isn), None),
            ..syn(&client, isn, None)
        });
    }
    if let Some(isn) = server.isn.0
        && (!sender_is_client || !alone)
    {
        f(&syn(&server, isn, server.isn.1));
    }
}

/// The segments that an event represents: the SYNs if they were not reported before, the other
/// side's FIN, the captured pieces, and the sender's own FIN or RST.
pub(super) fn segments(view: &View<'_>, boot: u64, f: &mut impl FnMut(&Segment<'_>)) {
    let head = &view.head;
    let has = |bit| head.bits & bit != 0;
    let whole = whole(head, boot);
    if has(event::FIRST) && !has(event::MIDSTREAM) {
        let (is_client, alone) = (has(event::SENDER_CLIENT), has(event::ALONE));
        opening(&whole, is_client, alone, boot + head.opened, f);
    }
    if has(event::RECEIVER_FIN) {
        f(&Segment {
            seq: head.fin,
            flags: TcpFlags(TcpFlags::FIN),
            len: 0,
            ..back(&whole)
        });
    }
    let ends = head.tcp_flags & (TcpFlags::FIN | TcpFlags::RST);
    let flags = TcpFlags(head.tcp_flags & !ends);
    for (at, (offset, bytes)) in view.pieces().enumerate() {
        let len = if at == 0 && has(event::RUN) {
            head.len.saturating_sub(offset)
        } else {
            bytes.len() as u32
        };
        f(&Segment {
            seq: head.seq.wrapping_add(offset),
            len,
            inside: offset > 0,
            payload: bytes,
            flags,
            ..whole
        });
    }
    if ends != 0 {
        f(&whole);
    }
}

/// The datagrams that an event represents: one, or as many as segmentation offload has merged into
/// one packet.
pub(super) fn datagrams(view: &View<'_>, boot: u64, f: &mut impl FnMut(&Datagram<'_>)) {
    let head = &view.head;
    let has = |bit| head.bits & bit != 0;
    let size = if head.seq == 0 { head.len } else { head.seq };
    let mut rest = view.payload;
    let mut left = head.len;
    loop {
        let len = left.min(size);
        let (payload, behind) = rest.split_at(rest.len().min(len as usize));
        f(&Datagram {
            time: boot.wrapping_add(head.time),
            link: head.ifindex,
            direction: direction(has(event::EGRESS)),
            src: endpoint(head.src, head.src_port, has(event::V6)),
            dst: endpoint(head.dst, head.dst_port, has(event::V6)),
            len,
            payload,
            midstream: false,
            lost: has(event::LOST),
            foreign: has(event::FOREIGN),
            paused: has(event::PAUSED),
        });
        rest = behind;
        left -= len;
        // A size of zero would be a bug in the kernel program.
        if left == 0 || size == 0 {
            return;
        }
    }
}

/// What the table knows about a connection with an undelivered event: how it began.
pub(super) fn unreported(flow: &Flow, boot: u64, f: &mut impl FnMut(&Segment<'_>)) {
    let [first, second] = &flow.halves;
    let known = |half: &Half| (half.bits & HALF_ISN != 0).then_some(half.isn);
    let [src, dst] = ends(flow);
    let link = if first.link == 0 {
        second.link
    } else {
        first.link
    };
    let is_of_first = first.link != 0;
    let segment = Segment {
        time: boot.wrapping_add(flow.opened),
        link: link & !LINK_EGRESS,
        direction: direction((link & LINK_EGRESS != 0) == is_of_first),
        src,
        dst,
        seq: first.isn,
        ack: 0,
        flags: TcpFlags(0),
        len: 0,
        payload: &[],
        checksum: Checksum::Unknown,
        isn: (known(first), known(second)),
        midstream: flow.bits & FLOW_MIDSTREAM != 0,
        again: false,
        lost: flow.lost != 0,
        foreign: false,
        inside: false,
    };
    if !segment.midstream {
        let is_client = first.bits & HALF_CLIENT != 0;
        return match (first.link, second.link) {
            (0, _) => opening(&back(&segment), !is_client, true, segment.time, f),
            (_, other) => opening(&segment, is_client, other == 0, segment.time, f),
        };
    }
    // It was first seen with its first payload, of which at least a byte went in this direction.
    for (half, segment) in [(first, segment), (second, back(&segment))] {
        if half.link != 0 {
            f(&Segment {
                seq: half.isn.wrapping_add(1),
                len: 1,
                ..segment
            });
        }
    }
}

/// What the table knows about a UDP flow that lost samples: that it exists.
pub(super) fn unreported_datagram<'a>(flow: &Flow, boot: u64) -> Datagram<'a> {
    let [first, second] = &flow.halves;
    let mut ends = ends(flow);
    let half = if first.link == 0 {
        ends.reverse();
        second
    } else {
        first
    };
    Datagram {
        time: boot.wrapping_add(flow.opened),
        link: half.link & !LINK_EGRESS,
        direction: direction(half.link & LINK_EGRESS != 0),
        src: ends[0],
        dst: ends[1],
        len: 0,
        payload: &[],
        midstream: false,
        lost: true,
        foreign: false,
        paused: (first.bits | second.bits) & HALF_DONE != 0,
    }
}

/// Whether a connection that lost samples has ended.
pub(super) fn is_over(flow: &Flow) -> bool {
    let [first, second] = flow.halves.map(|half| half.bits);
    flow.lost != 0 && (first & second & HALF_FIN != 0 || (first | second) & HALF_RST != 0)
}

/// Both ends of a connection.
pub(super) fn ends(flow: &Flow) -> [Endpoint; 2] {
    [0, 1].map(|at| {
        let mut ip = [0; 16];
        ip[..8].copy_from_slice(&flow.addrs[at][0].to_ne_bytes());
        ip[8..].copy_from_slice(&flow.addrs[at][1].to_ne_bytes());
        endpoint(ip, flow.ports[at], flow.family == 6)
    })
}

/// What an event reports that is not about a segment; `None` if it is about one.
pub(super) fn unread(head: &Head, boot: u64) -> Option<Unread> {
    let counter = Counter::ALL.get(usize::from(head.unread))?;
    let what = match counter {
        Counter::Fragments => What::Fragments,
        Counter::TooManyHeaders => What::TooManyHeaders,
        Counter::Malformed => What::Malformed,
        Counter::IpInIp => What::Tunnel("IP in IP"),
        Counter::Gre => What::Tunnel("GRE"),
        Counter::Vxlan => What::Tunnel("VXLAN"),
        Counter::Geneve => What::Tunnel("Geneve"),
        Counter::Mpls => What::Tunnel("MPLS"),
        Counter::Esp => What::Tunnel("ESP"),
        Counter::Udp => What::Udp,
        Counter::Sctp => What::Sctp,
        Counter::Icmp => What::Icmp,
        Counter::OtherIp => What::OtherIp,
        Counter::Evicted => What::Evicted,
        _ => return None,
    };
    let v6 = head.bits & event::V6 != 0;
    Some(Unread {
        time: boot.wrapping_add(head.time),
        link: head.ifindex,
        direction: direction(head.bits & event::EGRESS != 0),
        src: endpoint(head.src, head.src_port, v6),
        dst: endpoint(head.dst, head.dst_port, v6),
        what,
    })
}

#[cfg(test)]
mod tests {
    use mtls_ebpf_common::{
        Piece,
        event::{
            EGRESS, FIRST, PIECES, RECEIVER_FIN, RECEIVER_ISN, RUN, SENDER_CLIENT, SENDER_ISN,
        },
    };

    use super::*;

    fn head(flags: u8, len: u32) -> Head {
        Head {
            time: 5,
            opened: 3,
            src: [1; 16],
            dst: [2; 16],
            src_port: 1,
            dst_port: 2,
            ifindex: 9,
            seq: 1000,
            ack: 7,
            isn: [999, 0],
            len,
            fin: 0,
            captured: 0,
            bits: EGRESS | SENDER_ISN,
            tcp_flags: flags,
            pieces: 0,
            unread: 0,
            transport: 6,
        }
    }

    /// (time, source port, seq, len, payload, flags) of each segment.
    fn read(view: &View<'_>) -> Vec<(u64, u16, u32, u32, Vec<u8>, u8)> {
        let mut all = Vec::new();
        segments(view, 100, &mut |segment| {
            let is_sender = segment.src.port == 1;
            assert_eq!(segment.direction == Direction::Egress, is_sender);
            let Segment {
                time,
                src,
                seq,
                len,
                payload,
                flags,
                ..
            } = *segment;
            all.push((time, src.port, seq, len, payload.to_vec(), flags.0));
        });
        all
    }

    #[test]
    fn an_end_is_one_segment() {
        let view = View {
            head: head(TcpFlags::FIN, 30),
            pieces: [Piece::default(); PIECES],
            payload: &[],
        };
        assert_eq!(read(&view), [(105, 1, 1000, 30, vec![], TcpFlags::FIN)]);
    }

    #[test]
    fn pieces_of_records_follow_the_run_and_the_end_is_last() {
        let mut pieces = [Piece::default(); PIECES];
        pieces[0] = Piece { offset: 10, len: 3 };
        pieces[1] = Piece {
            offset: 200,
            len: 5,
        };
        pieces[2] = Piece {
            offset: 265,
            len: 2,
        };
        let head = Head {
            captured: 10,
            pieces: 3,
            bits: EGRESS | SENDER_ISN | RUN,
            ..head(TcpFlags::ACK | TcpFlags::FIN, 267)
        };
        let view = View {
            head,
            pieces,
            payload: b"abc\x17\x03\x03\x00\x3c\x17\x03",
        };
        let ack = TcpFlags::ACK;
        assert_eq!(
            read(&view),
            [
                (105, 1, 1010, 257, b"abc".to_vec(), ack),
                (105, 1, 1200, 5, vec![23, 3, 3, 0, 60], ack),
                (105, 1, 1265, 2, vec![23, 3], ack),
                (105, 1, 1000, 267, vec![], ack | TcpFlags::FIN),
            ]
        );
    }

    #[test]
    fn the_first_event_brings_the_syns_and_the_other_sides_end() {
        let mut pieces = [Piece::default(); PIECES];
        pieces[0] = Piece { offset: 0, len: 1 };
        let head = Head {
            captured: 1,
            pieces: 1,
            isn: [999, 499],
            fin: 520,
            bits: EGRESS | SENDER_ISN | RECEIVER_ISN | SENDER_CLIENT | FIRST | RUN | RECEIVER_FIN,
            ..head(TcpFlags::ACK, 1)
        };
        let view = View {
            head,
            pieces,
            payload: b"x",
        };
        let (syn, ack, fin) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN);
        assert_eq!(
            read(&view),
            [
                (103, 1, 999, 0, vec![], syn),
                (103, 2, 499, 0, vec![], syn | ack),
                (105, 2, 520, 0, vec![], fin),
                (105, 1, 1000, 1, b"x".to_vec(), ack),
            ]
        );
    }

    /// (length, payload) of each datagram.
    fn datagrams(head: Head, payload: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        let view = View {
            head,
            pieces: [Piece::default(); PIECES],
            payload,
        };
        super::datagrams(&view, 100, &mut |datagram| {
            assert_eq!((datagram.time, datagram.src.port), (105, 1));
            all.push((datagram.len, datagram.payload.to_vec()));
        });
        all
    }

    #[test]
    fn what_offload_put_together_is_taken_apart() {
        let gram = |seq, len| Head {
            seq,
            transport: 17,
            ..head(0, len)
        };
        assert_eq!(datagrams(gram(0, 5), b"abc"), [(5, b"abc".to_vec())]);
        let three = [
            (4, b"abcd".to_vec()),
            (4, b"efgh".to_vec()),
            (2, b"ij".to_vec()),
        ];
        assert_eq!(datagrams(gram(4, 10), b"abcdefghij"), three);
        let cut = [(4, b"ab".to_vec()), (4, vec![]), (2, vec![])];
        assert_eq!(datagrams(gram(4, 10), b"ab"), cut);
        assert_eq!(datagrams(gram(0, 0), b""), [(0, vec![])]);
    }

    #[test]
    fn what_was_not_read_is_named() {
        let event = Head {
            unread: Counter::Fragments as u8,
            ..head(0, 0)
        };
        let unread = unread(&event, 100).expect("not a segment");
        assert_eq!(
            (unread.what, unread.time, unread.link),
            (What::Fragments, 105, 9)
        );
        assert_eq!(super::unread(&head(0, 0), 100), None);
    }
}
