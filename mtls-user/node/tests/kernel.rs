//! The kernel program on this machine's kernel, with real connections over a veth. Needs root.

mod support;

use std::{process::Command, time::Duration};

use mtls_core::wire::{Direction, Endpoint, TcpFlags};
use mtls_node::kernel::{
    Config, Events, Kernel, Mode,
    links::{Change, Choice, Links},
    programs_on,
};
use support::{Node, Seen, ip, netns, path, segments, stream, within};

/// Runs `f` in the node's namespace with a runtime, the programs loaded.
fn watching<T: Send>(
    node: &Node,
    config: &Config,
    f: impl FnOnce(&mut Kernel, &mut Events) -> T + Send,
) -> T {
    within(&node.node, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let mut kernel = Kernel::load(config).expect("load");
        let mut events = kernel.events().expect("events");
        f(&mut kernel, &mut events)
    })
}

fn drain(events: &mut Events) -> Vec<Seen> {
    // The last FIN may still be under way when the last byte was read.
    std::thread::sleep(Duration::from_millis(100));
    let mut seen = Vec::new();
    events.drain(segments(|segment| seen.push(Seen::from(segment))));
    seen
}

/// The stream of `src` is `expected` from its first byte to its FIN.
fn assert_stream(seen: &[Seen], src: Endpoint, expected: &[u8]) {
    let bytes = stream(seen, src);
    let captured: Vec<u8> = bytes.iter().map_while(|byte| *byte).collect();
    assert!(
        captured == expected,
        "{} bytes of {}",
        captured.len(),
        expected.len()
    );
    let fin = seen
        .iter()
        .find(|s| s.src == src && s.flags & TcpFlags::FIN != 0)
        .expect("a FIN");
    let end = fin
        .seq
        .wrapping_add(fin.len)
        .wrapping_sub(fin.isn.0.expect("ISN"))
        .wrapping_sub(1);
    assert_eq!(end as usize, expected.len());
}

/// Everything that is to be seen of one exchange.
fn assert_exchange(seen: &[Seen], ends: (Endpoint, Endpoint), request: &[u8], response: &[u8]) {
    let (client, server) = ends;
    let syn = seen
        .iter()
        .find(|s| s.flags & TcpFlags::SYN != 0)
        .expect("a SYN");
    assert_eq!(
        (syn.src, syn.dst, syn.flags),
        (client, server, TcpFlags::SYN)
    );
    assert_eq!(
        (syn.isn, syn.direction),
        ((Some(syn.seq), None), Direction::Ingress)
    );
    let answer = seen.iter().find(|s| s.src == server).expect("a SYN-ACK");
    assert_eq!(answer.flags, TcpFlags::SYN | TcpFlags::ACK);
    assert_eq!(answer.isn, (Some(answer.seq), Some(syn.seq)));
    assert_eq!(answer.direction, Direction::Egress);
    assert_stream(seen, client, request);
    assert_stream(seen, server, response);
    for segment in seen {
        assert!(
            !segment.midstream && !segment.again && !segment.lost,
            "{segment:?}"
        );
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as u64;
    assert!(
        now.abs_diff(syn.time) < 60_000_000_000,
        "a time stamp far off"
    );
}

/// Nothing that was counted is unaccounted for.
fn assert_balanced(kernel: &Kernel) {
    let counters = kernel.counters();
    let sum = counters.sampled + counters.skipped + counters.lost();
    assert_eq!(counters.segments, sum, "{counters:?}");
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + (i % 23) as u8).collect()
}

#[test]
fn a_connection_is_seen_from_syn_to_fin() {
    let node = Node::new();
    let (request, response) = (pattern(700), pattern(3000));
    watching(&node, &Config::default(), |kernel, events| {
        let ifindex = node.index("veth0");
        kernel.measure(true);
        let attached = kernel.attach(ifindex).expect("attach");
        assert_eq!((attached.ifindex, &*attached.name), (ifindex, "veth0"));
        for address in ["10.9.0.2", "fd09::2"] {
            let ends = node.exchange(address, &request, &response, || ());
            let seen = drain(events);
            assert!(seen.iter().all(|segment| segment.link == ifindex));
            assert_exchange(&seen, ends, &request, &response);
        }
        assert_balanced(kernel);
        assert_eq!(kernel.counters().flows, 2);
        let programs = kernel.programs();
        assert_eq!(programs.len(), 2);
        assert!(programs.iter().all(|p| p.run_count > 0), "{programs:?}");
        // A fifth of what the verifier accepts, as older kernels' see less ahead.
        for program in &programs {
            let instructions = program.verified_instructions.unwrap_or_default();
            assert!(instructions < 200_000, "{program:?}");
        }
    });
}

#[test]
fn every_shape_of_packet_is_read() {
    use support::packet::{Ip, Packet};
    let node = Node::new();
    let shapes = [
        Packet::default(),
        Packet {
            tags: &[0x8100],
            ..Packet::default()
        },
        Packet {
            tags: &[0x88a8, 0x8100],
            ..Packet::default()
        },
        Packet {
            tags: &[0x8100, 0x8100],
            ..Packet::default()
        },
        Packet {
            ip_options: 4,
            ..Packet::default()
        },
        Packet {
            ip_options: 40,
            tags: &[0x8100],
            ..Packet::default()
        },
        Packet {
            tcp_options: 12,
            ..Packet::default()
        },
        Packet {
            tcp_options: 40,
            ip_options: 8,
            ..Packet::default()
        },
        // Ethernet pads what is shorter than 60 bytes.
        Packet {
            trailer: 17,
            ..Packet::default()
        },
        Packet {
            ip: Ip::V6(&[]),
            ..Packet::default()
        },
        Packet {
            ip: Ip::V6(&[]),
            tags: &[0x8100],
            tcp_options: 20,
            ..Packet::default()
        },
        Packet {
            ip: Ip::V6(&[]),
            tags: &[0x88a8, 0x8100],
            ..Packet::default()
        },
        Packet {
            ip: Ip::V6(&[0]),
            ..Packet::default()
        },
        Packet {
            ip: Ip::V6(&[0, 60, 43, 60]),
            tags: &[0x8100],
            ..Packet::default()
        },
        // An "atomic" fragment is a whole packet.
        Packet {
            ip: Ip::V6(&[44]),
            ..Packet::default()
        },
        Packet {
            ip: Ip::V6(&[51]),
            ..Packet::default()
        },
        // What switches used before 802.1ad; and as many headers as are followed.
        Packet {
            tags: &[0x9100, 0x8100],
            ..Packet::default()
        },
        Packet {
            tags: &[0x88a8, 0x9100, 0x8100, 0x8100],
            ip: Ip::V6(&[0, 60, 43, 60, 135, 139, 140, 60, 60, 60]),
            ..Packet::default()
        },
    ];
    watching(&node, &Config::default(), |kernel, events| {
        for (number, shape) in shapes.iter().enumerate() {
            let port = 1000 + number as u16;
            let packet = Packet {
                src_port: port,
                payload: b"payload",
                ..*shape
            };
            kernel
                .run(Direction::Egress, &packet.bytes(), 1)
                .expect("run");
            let mut seen = Vec::new();
            events.drain(segments(|segment| seen.push(Seen::from(segment))));
            let [seen] = &seen[..] else {
                panic!("{shape:?}: {seen:?}")
            };
            assert_eq!(seen.payload, b"payload", "{shape:?}");
            assert_eq!((seen.src, seen.dst), packet.ends(), "{shape:?}");
            assert_eq!(
                (seen.seq, seen.ack, seen.len),
                (packet.seq, packet.ack, 7),
                "{shape:?}"
            );
            assert_eq!(seen.direction, Direction::Egress);
        }
        assert_balanced(kernel);
    });
}

/// The kernel's parser and the capture reader's, on packets of every shape and on broken ones: the
/// kernel delivers a segment where the capture reader finds one, and it is the same. What is inside a
/// tunnel is the capture reader's alone.
#[test]
fn the_kernel_reads_what_a_capture_is_read_as() {
    use mtls_core::capture::{Decoded, Decoder, LinkType, Packet as Captured};
    use support::packet::{Ip, Packet};
    const TAGS: [&[u16]; 6] = [
        &[],
        &[0x8100],
        &[0x88a8, 0x8100],
        &[0x9100, 0x8100, 0x8100],
        &[0x8100; 4],
        &[0x8100; 5],
    ];
    const EXTENSIONS: [&[u8]; 7] = [
        &[],
        &[0],
        &[44],
        &[51, 60],
        &[0, 60, 43, 44, 51, 135, 139, 140],
        &[60; 10],
        &[60; 11],
    ];
    let node = Node::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    watching(&node, &Config::default(), |kernel, events| {
        let (mut same, mut neither) = (0, 0);
        for number in 0..3000_u16 {
            let packet = Packet {
                tags: TAGS[random(TAGS.len())],
                ip: match random(3) {
                    0 => Ip::V4,
                    _ => Ip::V6(EXTENSIONS[random(EXTENSIONS.len())]),
                },
                ip_options: 4 * random(11),
                tcp_options: 4 * random(11),
                fragment: [0, 0, 0, 0, 1, 2, 0x00f8, 0x2000, 0x4000][random(9)],
                proto: [6, 6, 6, 6, 6, 6, 17, 1, 132][random(9)],
                back: random(2) == 0,
                src_port: 2000 + number,
                flags: [0x10, 0x18, 0x10, 0x30][random(4)],
                payload: &b"some payload of this one"[..random(25)],
                trailer: random(2) * 6,
                ..Packet::default()
            };
            let mut bytes = packet.bytes();
            // A third is broken, but for the addresses and ports, in one byte of its headers.
            let spoilt = random(3) == 0;
            if spoilt {
                let at = 12 + random(12);
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x45, 0x46, 0x60][random(8)];
            }
            let captured = Captured {
                time: 1,
                link_type: LinkType::ETHERNET,
                data: &bytes,
                original: bytes.len(),
            };
            let mut decoder = Decoder::default();
            let expected = match decoder.decode(&captured) {
                Some(Decoded::Segment(segment)) if segment.len > 0 => Some(Seen::from(&segment)),
                _ => None,
            };
            if kernel.run(Direction::Egress, &bytes, 1).is_err() {
                continue;
            }
            let mut seen = Vec::new();
            events.drain(segments(|segment| seen.push(Seen::from(segment))));
            let found = seen.pop().filter(|seen| seen.len > 0);
            assert!(seen.is_empty());
            if let Some(cut) = expected
                .as_ref()
                .filter(|e| e.payload.len() < e.len as usize)
            {
                // It claims more bytes than there are: no receiver takes it, and it is no sample.
                assert!(found.is_none_or(|seen| seen.lost), "{packet:?} {cut:?}");
                continue;
            }
            let told = |seen: &Seen| {
                let ends = (seen.src, seen.dst);
                (ends, seen.seq, seen.ack, seen.len, seen.payload.clone())
            };
            let (found, expected) = (found.as_ref().map(told), expected.as_ref().map(told));
            assert_eq!(found, expected, "{packet:?} spoilt: {spoilt} {bytes:02x?}");
            same += usize::from(found.is_some());
            neither += usize::from(found.is_none());
        }
        assert!(same > 800 && neither > 800, "{same} {neither}");
    });
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
        // Every packet cut short, and every byte of its headers spoilt: nothing but a count.
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
                // The kernel takes no test packet without an IP header's worth of bytes.
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

#[test]
fn clsact_does_the_same() {
    let node = Node::new();
    let config = Config {
        clsact: true,
        ..Config::default()
    };
    let filters = |hook: &str| {
        let output = Command::new("tc")
            .args(["filter", "show", "dev", "veth0", hook])
            .output()
            .expect("start tc (package iproute2)");
        String::from_utf8_lossy(&output.stdout)
            .matches("direct-action")
            .count()
    };
    watching(&node, &config, |kernel, _| {
        assert_eq!(
            kernel.attach(node.index("veth0")).expect("attach").mode,
            Mode::Clsact
        );
        assert_eq!([filters("ingress"), filters("egress")], [1, 1]);
        // What a killed daemon leaves: filters that nobody removes.
        let left = Kernel::load(&config).map(std::mem::ManuallyDrop::new);
        left.expect("load")
            .attach(node.index("veth0"))
            .expect("attach");
    });
    watching(&node, &config, |kernel, events| {
        let ifindex = node.index("veth0");
        kernel.attach(ifindex).expect("attach");
        assert_eq!([filters("ingress"), filters("egress")], [1, 1]);
        let ends = node.exchange("10.9.0.2", b"question", b"answer", || ());
        assert_exchange(&drain(events), ends, b"question", b"answer");
        assert!(kernel.detach(ifindex).expect("detach"));
        assert_eq!([filters("ingress"), filters("egress")], [0, 0]);
    });
}

#[test]
fn attaching_twice_is_attaching_once_and_detaching_leaves_nothing() {
    let node = Node::new();
    watching(&node, &Config::default(), |kernel, events| {
        let ifindex = node.index("veth0");
        let attached = kernel.attach(ifindex).expect("attach");
        assert_eq!(kernel.attach(ifindex).expect("attach"), attached);
        assert_eq!(kernel.attached(), std::slice::from_ref(&attached));
        if attached.mode == Mode::Tcx {
            assert_eq!(programs_on("veth0").expect("query"), [1, 1]);
        }
        assert!(kernel.detach(ifindex).expect("detach"));
        assert!(!kernel.detach(ifindex).expect("detach"));
        if attached.mode == Mode::Tcx {
            assert_eq!(programs_on("veth0").expect("query"), [0, 0]);
        }
        node.exchange("10.9.0.2", b"question", b"answer", || ());
        assert!(drain(events).is_empty());
        assert!(kernel.attach(u32::MAX / 2).is_err());
    });
}

#[test]
fn a_flow_older_than_the_program_says_so() {
    let node = Node::new();
    watching(&node, &Config::default(), |kernel, events| {
        let ifindex = node.index("veth0");
        let (client, server) = node.exchange("10.9.0.2", b"question", b"answer", || {
            kernel.attach(ifindex).expect("attach");
        });
        let seen = drain(events);
        let payload = |src| {
            let bytes = seen
                .iter()
                .filter(|s| s.src == src)
                .flat_map(|s| &s.payload);
            bytes.copied().collect::<Vec<u8>>()
        };
        assert_eq!(payload(client), b"question");
        assert_eq!(payload(server), b"answer");
        assert!(seen.iter().all(|s| s.midstream && s.isn == (None, None)));
        assert_eq!(kernel.counters().midstream, 1);
    });
}

#[test]
fn super_segments_are_walked() {
    use support::tls::{stream_of, wanted};
    let node = Node::new();
    // One write: the kernel's offloads make segments of up to 64 KiB of it.
    let records = [
        (22, 90),
        (22, 9_000),
        (22, 6_000),
        (22, 4),
        (20, 1),
        (22, 40),
        (23, 16_000),
        (23, 16_401),
        (23, 30),
        (23, 30),
        (23, 12_000),
    ];
    let (request, answer) = (stream_of(&records), wanted(&records));
    watching(&node, &Config::default(), |kernel, events| {
        kernel.attach(node.index("veth0")).expect("attach");
        let (client, _) = node.exchange("10.9.0.2", &request, b"answer", || ());
        let seen = drain(events);
        let largest = seen.iter().map(|s| s.len).max();
        assert!(largest > Some(10_000), "no super-segment: {largest:?}");
        let mut bytes = stream(&seen, client);
        bytes.resize(request.len(), None);
        assert!(bytes == answer);
        assert_balanced(kernel);
    });
}

#[test]
fn what_is_lost_is_counted_and_said() {
    let node = Node::new();
    // With the log, which has to pass the verifier as well.
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
        // One interface alone does not fill the ring.
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
        // With room again, a new flow is seen in full.
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
        // More than is left of the interface's share.
        send(5000, 1, &[b'x'; 2000]);
        let mut told = 0;
        events.drain(segments(|segment| {
            if segment.src.port == 5000 {
                // That there was something is known, and nothing of what it was.
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
        let of_it = seen
            .iter()
            .filter(|s| s.src.port == 5000 || s.dst.port == 5000);
        let last = of_it.last().expect("it is told of");
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
            // In the next interval they are news again.
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
fn veths_are_followed() {
    let (node, pod) = (netns(), netns());
    within(&node, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut links = Links::open(Choice::default()).await.expect("open");
            assert_eq!(links.list().await.expect("list"), []);
            let mut next = async || {
                let change = tokio::time::timeout(Duration::from_secs(5), links.next()).await;
                change.expect("an event in time").expect("an event")
            };
            let mut indices = Vec::new();
            // The same name twice over, and no wait in between.
            let make = format!(
                "link add again type veth peer name eth0 netns {}",
                path(&pod)
            );
            for _ in 0..2 {
                ip(&make);
                let Change::Added(link) = next().await else {
                    panic!("not added")
                };
                assert_eq!(link.name, "again");
                assert!(link.peer_netnsid.is_some());
                indices.push(link.ifindex);
                ip("link del again");
                assert_eq!(next().await, Change::Removed(link.ifindex));
            }
            assert_ne!(indices[0], indices[1]);
            // A pair made here whose one end moves into the pod later.
            ip("link add stays type veth peer name moves");
            ip("link add br0 type bridge");
            ip(&format!("link set moves netns {}", path(&pod)));
            let Change::Added(link) = next().await else {
                panic!("not added")
            };
            assert_eq!(link.name, "stays");
            assert_eq!(links.list().await.expect("list"), [link]);
        });
    });
}
