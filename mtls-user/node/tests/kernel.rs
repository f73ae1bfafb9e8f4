//! The kernel program on this machine's kernel, with real connections over a veth. Needs root.

mod support;

use std::{process::Command, time::Duration};

use mtls_core::wire::Direction;
use mtls_node::kernel::{
    Config, Kernel, Mode,
    links::{Change, Choice, Links},
    programs_on,
};
use support::{
    Node, Seen, ip, netns, path, segments, stream,
    watch::{assert_balanced, assert_exchange, drain, pattern, watching},
    within,
};

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
        // A fifth of what the verifier accepts, because older kernels' verifiers process more
        // instructions.
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
        // Ethernet pads frames shorter than 60 bytes.
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
        // Used by switches before 802.1ad; and as many headers as are followed.
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

/// Compares the kernel's parser with the capture reader's, on packets of every shape and on broken
/// ones: the kernel delivers a segment if the capture reader finds one, and it is the same. Only
/// the capture reader decapsulates tunnels.
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
            // A third is broken in one byte of its headers, except for the addresses and ports.
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
                // It claims more bytes than there are: no receiver accepts it, and it is not
                // sampled.
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
        // Remains of a killed daemon: filters that nobody removes.
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
    // One write: the kernel's offloads turn it into segments of up to 64 KiB.
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
            // The same name twice, without a pause in between.
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
            // A pair created here, one end of which moves into the pod later.
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
