//! What the kernel program does not see, or cannot deliver, is counted and reported. Needs root.

mod support;

use mtls_core::wire::{Direction, Endpoint, TcpFlags};
use mtls_node::kernel::Config;
use support::{
    Node, segments,
    watch::{assert_balanced, assert_exchange, drain, pattern, watching},
};

#[test]
fn what_is_lost_is_counted_and_said() {
    let node = Node::new();
    // With the log, which must pass the verifier as well.
    let config = Config {
        ring_bytes: 64 << 10,
        log: true,
        ..Config::default()
    };
    watching(&node, &config, |kernel, events| {
        kernel.log().expect("log");
        kernel.attach(node.index("veth0")).expect("attach");
        let request = pattern(12_000);
        for _ in 0..20 {
            node.exchange("10.9.0.2", &request, b"answer", || ());
        }
        let counters = kernel.counters();
        // A single interface does not fill the ring.
        assert!(counters.lost_over_share > 0, "{counters:?}");
        assert_eq!(counters.lost(), counters.lost_over_share, "{counters:?}");
        let [attached] = &kernel.attached()[..] else {
            panic!("one interface")
        };
        assert_eq!(attached.lost.sum(), counters.lost());
        assert_balanced(kernel);
        let mut delivered = 0;
        events.drain(segments(|segment| delivered += usize::from(!segment.lost)));
        assert!(delivered > 0);
        // With room again, a new flow is completely sampled.
        let ends = node.exchange("10.9.0.2", b"question", b"answer", || ());
        assert_exchange(&drain(events), ends, b"question", b"answer");
    });
}

#[test]
fn a_flow_that_lost_samples_says_so() {
    use support::packet::Packet;
    let node = Node::new();
    let config = Config {
        ring_bytes: 64 << 10,
        ..Config::default()
    };
    watching(&node, &config, |kernel, events| {
        let send = |src_port, seq, payload: &[u8]| {
            let packet = Packet {
                src_port,
                seq,
                payload,
                ..Packet::default()
            };
            kernel
                .run(Direction::Egress, &packet.bytes(), 1)
                .expect("run");
        };
        for port in 0..200 {
            send(1000 + port, 1, &[b'x'; 1000]);
        }
        assert!(kernel.counters().lost() > 0);
        // More than what is left of the interface's share.
        send(5000, 1, &[b'x'; 2000]);
        let mut told = 0;
        events.drain(segments(|segment| {
            if segment.src.port == 5000 {
                // It is known that there was something, but not what.
                assert!(segment.lost && segment.midstream && segment.payload.is_empty());
                told += segment.len;
            }
        }));
        assert_eq!(told, 1);
        send(5000, 2001, b"and more");
        send(5001, 1, b"question");
        let seen = drain(events);
        let what: Vec<_> = seen
            .iter()
            .map(|s| (s.src.port, s.payload.as_slice(), s.lost))
            .collect();
        assert_eq!(
            what,
            [(5000, &b"and more"[..], true), (5001, b"question", false)]
        );
        assert_balanced(kernel);
    });
}

#[test]
fn what_ended_while_samples_were_lost_is_found_in_the_table() {
    use support::packet::Packet;
    const FIN: u8 = TcpFlags::FIN | TcpFlags::ACK;
    let node = Node::new();
    let config = Config {
        ring_bytes: 64 << 10,
        ..Config::default()
    };
    watching(&node, &config, |kernel, events| {
        let raw = |src_port, back, seq, ack, flags, payload: &[u8]| {
            let direction = if back {
                Direction::Ingress
            } else {
                Direction::Egress
            };
            let packet = Packet {
                back,
                src_port,
                seq,
                ack,
                flags,
                payload,
                ..Packet::default()
            };
            kernel.run(direction, &packet.bytes(), 1).expect("run");
        };
        let send =
            |back, seq, ack, flags, payload: &[u8]| raw(5000, back, seq, ack, flags, payload);
        let fill = || {
            for port in 1000..1200 {
                raw(port, false, 1, 1, TcpFlags::ACK, &[b'x'; 1000]);
            }
            // Until there is no room for the smallest event either.
            for port in 1200..1300 {
                raw(port, false, 99, 0, TcpFlags::SYN, b"");
                raw(port, true, 0, 100, TcpFlags::RST | TcpFlags::ACK, b"");
            }
        };
        send(false, 99, 0, TcpFlags::SYN, b"");
        send(true, 499, 100, TcpFlags::SYN | TcpFlags::ACK, b"");
        send(false, 100, 500, TcpFlags::ACK, b"seen");
        fill();
        let lost = kernel.counters().lost();
        // Both the answer, with its FIN, and the other FIN.
        send(true, 500, 104, FIN, &[b'x'; 2000]);
        send(false, 104, 2501, FIN, b"");
        assert_eq!(kernel.counters().lost(), lost + 2);
        let seen = drain(events);
        let mut of_it = seen
            .iter()
            .filter(|s| s.src.port == 5000 || s.dst.port == 5000);
        let last = of_it.next_back().expect("it is told of");
        assert!(last.lost, "{last:?}");
        let ports = |ends: &[Endpoint; 2]| {
            let mut ports = ends.map(|end| end.port);
            ports.sort_unstable();
            ports
        };
        let ended: Vec<_> = events.take_ended().iter().map(ports).collect();
        let one = ended.iter().filter(|ports| **ports == [443, 5000]);
        assert_eq!(one.count(), 1, "{ended:?}");
        // Once.
        drain(events);
        assert!(events.take_ended().is_empty());
        assert_balanced(kernel);
    });
}

#[test]
fn what_is_no_segment_is_counted_and_reported_once_per_pair() {
    use mtls_core::wire::What;
    use support::packet::{Ip, Packet};
    let node = Node::new();
    let packet = Packet {
        payload: &[0; 40],
        ..Packet::default()
    };
    let v6 = Packet {
        ip: Ip::V6(&[]),
        ..packet
    };
    let cases = [
        (
            Packet {
                fragment: 0x2000,
                ..packet
            },
            What::Fragments,
        ),
        (
            Packet {
                fragment: 1,
                ip: Ip::V6(&[44]),
                ..packet
            },
            What::Fragments,
        ),
        (
            Packet {
                ip: Ip::V6(&[0; 11]),
                ..packet
            },
            What::TooManyHeaders,
        ),
        (Packet { proto: 4, ..packet }, What::Tunnel("IP in IP")),
        (
            Packet {
                proto: 41,
                ..packet
            },
            What::Tunnel("IP in IP"),
        ),
        (Packet { proto: 47, ..v6 }, What::Tunnel("GRE")),
        (
            Packet {
                proto: 50,
                ..packet
            },
            What::Tunnel("ESP"),
        ),
        (
            Packet {
                proto: 132,
                ..packet
            },
            What::Sctp,
        ),
        (Packet { proto: 1, ..packet }, What::Icmp),
        (Packet { proto: 58, ..v6 }, What::Icmp),
        (
            Packet {
                proto: 88,
                ..packet
            },
            What::OtherIp,
        ),
    ];
    for (packet, what) in cases {
        watching(&node, &Config::default(), |kernel, events| {
            for back in [false, true] {
                for _ in 0..3 {
                    let packet = Packet { back, ..packet };
                    kernel
                        .run(Direction::Egress, &packet.bytes(), 1)
                        .expect("run");
                }
            }
            assert_eq!(events.drain(|_| ()), 2, "{what:?}: an event each way");
            let unread = events.take_unread();
            assert!(
                unread.iter().all(|unread| unread.what == what),
                "{unread:?}"
            );
            assert_eq!(unread[0].src.ip, unread[1].dst.ip);
            // In the next interval they are reported again.
            kernel.tick().expect("tick");
            kernel
                .run(Direction::Egress, &packet.bytes(), 1)
                .expect("run");
            assert_eq!(events.drain(|_| ()), 1);
            assert_eq!((events.take_unread().len(), events.malformed()), (1, 0));
            assert_eq!(kernel.counters().segments, 0);
        });
    }
}

#[test]
fn what_cannot_be_read_is_counted_or_none_of_our_business() {
    use support::packet::{Ip, Packet};
    let node = Node::new();
    watching(&node, &Config::default(), |kernel, events| {
        let run = |packet: &[u8]| {
            kernel.run(Direction::Ingress, packet, 1).expect("run");
        };
        let packet = Packet {
            payload: b"payload",
            ..Packet::default()
        };
        run(&Packet {
            fragment: 0x2000,
            ..packet
        }
        .bytes());
        run(&Packet {
            fragment: 0x00ff,
            ..packet
        }
        .bytes());
        let v6 = Packet {
            ip: Ip::V6(&[44]),
            ..packet
        };
        run(&Packet {
            fragment: 0x0001,
            ..v6
        }
        .bytes());
        assert_eq!(kernel.counters().fragments, 3);
        // A pure acknowledgement, UDP, ARP.
        run(&Packet {
            payload: b"",
            ..packet
        }
        .bytes());
        run(&Packet {
            proto: 17,
            ..packet
        }
        .bytes());
        let mut arp = packet.bytes();
        arp[12..14].copy_from_slice(&[8, 6]);
        run(&arp);
        assert_eq!(kernel.counters().malformed, 0);
        // Lengths that contradict each other.
        let mut short = packet.bytes();
        short[16..18].copy_from_slice(&30_u16.to_be_bytes());
        run(&short);
        let mut header = packet.bytes();
        header[46] = 0x10;
        run(&header);
        assert_eq!(kernel.counters().malformed, 2);
        // Every packet truncated, and every byte of its headers corrupted: nothing but a count.
        for shape in [
            packet,
            v6,
            Packet {
                tags: &[0x88a8, 0x8100],
                ip_options: 12,
                ..packet
            },
        ] {
            let bytes = shape.bytes();
            for len in 14..bytes.len() {
                // The kernel accepts no test packet shorter than an IP header.
                let _ = kernel.run(Direction::Ingress, &bytes[..len], 1);
            }
            for at in 12..bytes.len() - 7 {
                for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let mut spoilt = bytes.clone();
                    spoilt[at] = value;
                    let _ = kernel.run(Direction::Ingress, &spoilt, 1);
                }
            }
        }
        assert_balanced(kernel);
        events.drain(segments(|segment| {
            assert!(segment.payload.len() <= 4096 && segment.payload.len() as u32 <= segment.len);
        }));
    });
}
