//! What the kernel program samples of datagrams. Needs root.

mod support;

use std::{io::IoSlice, net::UdpSocket, os::fd::AsRawFd, time::Duration};

use mtls_core::wire::{Direction, What};
use mtls_node::kernel::{Config, Counters, Events, Kernel, Sample};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use support::{Node, within};

/// Datagrams sampled of a direction without handshakes, and of one with them; encrypted ones among
/// the latter.
const OTHER: usize = 32;
const SEALED: usize = 24;
/// Bytes copied of a direction, and of datagrams that are sampled only for their length.
const BYTES: usize = 16 << 10;
const HEADER: usize = 64;
/// Samples per recheck interval of a direction that is done.
const LOOKS: usize = 4;

/// A datagram as it was reported.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Gram {
    direction: Direction,
    src: u16,
    dst: u16,
    len: u32,
    payload: Vec<u8>,
    lost: bool,
    foreign: bool,
    paused: bool,
    link: u32,
}

fn drain(events: &mut Events) -> Vec<Gram> {
    let mut all = Vec::new();
    events.drain(|sample| match sample {
        Sample::Datagram(datagram) => all.push(Gram {
            direction: datagram.direction,
            src: datagram.src.port,
            dst: datagram.dst.port,
            len: datagram.len,
            payload: datagram.payload.to_vec(),
            lost: datagram.lost,
            foreign: datagram.foreign,
            paused: datagram.paused,
            link: datagram.link,
        }),
        Sample::Segment(segment) => panic!("no segment: {segment:?}"),
    });
    assert_eq!(events.malformed(), 0);
    all
}

/// The program, and a namespace to run it in.
struct Bench {
    kernel: Kernel,
    events: Events,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        Self::with(&Config::default())
    }

    fn with(config: &Config) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let mut kernel = Kernel::load(config).expect("load");
        let events = kernel.events().expect("events");
        Self {
            kernel,
            events,
            _runtime: runtime,
        }
    }

    /// Runs the program on a packet.
    fn send(&self, direction: Direction, packet: &Packet) {
        self.kernel.run(direction, &packet.bytes(), 1).expect("run");
    }

    fn client(&self, payload: &[u8]) {
        self.send(Direction::Egress, &Packet::new(payload));
    }

    fn server(&self, payload: &[u8]) {
        let packet = Packet {
            back: true,
            ..Packet::new(payload)
        };
        self.send(Direction::Ingress, &packet);
    }

    fn seen(&mut self) -> Vec<Gram> {
        drain(&mut self.events)
    }

    fn counters(&self) -> Counters {
        let counters = self.kernel.counters();
        let sum = counters.sampled + counters.skipped + counters.lost();
        assert_eq!(counters.segments, sum, "{counters:?}");
        counters
    }
}

/// A datagram in a frame, between 10.0.0.1 and 10.0.0.2, or fd00::1 and fd00::2.
#[derive(Clone)]
struct Packet {
    v6: bool,
    tag: bool,
    options: usize,
    back: bool,
    src: u16,
    dst: u16,
    payload: Vec<u8>,
    /// Bytes after the datagram, inside the IP packet.
    surplus: usize,
}

impl Packet {
    fn new(payload: &[u8]) -> Self {
        Self {
            v6: false,
            tag: false,
            options: 0,
            back: false,
            src: 40_000,
            dst: 4433,
            payload: payload.to_vec(),
            surplus: 0,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut ports = [self.src, self.dst];
        let mut hosts = [1, 2];
        if self.back {
            ports.reverse();
            hosts.reverse();
        }
        let len = 8 + self.payload.len();
        let mut bytes = vec![2; 12];
        if self.tag {
            bytes.extend([0x81, 0, 0, 7]);
        }
        let total = len + self.surplus;
        if self.v6 {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((total as u16).to_be_bytes());
            bytes.extend([17, 64]);
            for host in hosts {
                bytes.extend([0xfd; 15]);
                bytes.push(host);
            }
        } else {
            bytes.extend([8, 0, 0x45 + (self.options / 4) as u8, 0]);
            bytes.extend(((20 + self.options + total) as u16).to_be_bytes());
            bytes.extend([0, 1, 0, 0, 64, 17, 0, 0]);
            for host in hosts {
                bytes.extend([10, 0, 0, host]);
            }
            bytes.extend(vec![1; self.options]);
        }
        for port in ports {
            bytes.extend(port.to_be_bytes());
        }
        bytes.extend((len as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        bytes.extend(vec![0xee; self.surplus]);
        bytes
    }
}

/// A QUIC 1 long header or a short header, padded to that length.
fn long(len: usize, n: u8) -> Vec<u8> {
    let mut bytes = vec![n; len];
    bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
    bytes
}

fn short(len: usize, n: u8) -> Vec<u8> {
    let mut bytes = vec![n; len];
    bytes[0] = 0x41;
    bytes
}

#[test]
fn without_datagrams_they_are_counted_once_per_pair_and_segments_are_sampled() {
    use support::packet;
    let mut bench = Bench::with(&Config {
        datagrams: false,
        ..Config::default()
    });
    for _ in 0..3 {
        bench.client(b"question");
        bench.server(b"answer");
    }
    let segment = packet::Packet {
        payload: b"GET / HTTP/1.1",
        ..packet::Packet::default()
    };
    let kernel = &bench.kernel;
    kernel
        .run(Direction::Egress, &segment.bytes(), 1)
        .expect("run");
    let (mut segments, mut datagrams) = (0, 0);
    bench.events.drain(|sample| match sample {
        Sample::Segment(segment) => segments += segment.len,
        Sample::Datagram(_) => datagrams += 1,
    });
    assert_eq!((segments, datagrams), (14, 0));
    let unread = bench.events.take_unread();
    assert_eq!(unread.len(), 2, "{unread:?}");
    assert!(unread.iter().all(|unread| unread.what == What::Udp));
    let counters = bench.counters();
    assert_eq!((counters.udp, counters.datagrams), (2, 0));
}

#[test]
fn every_shape_is_read() {
    let mut bench = Bench::new();
    let mut port = 1_000;
    let shapes = [(1, 0, 0), (11, 0, 0), (12, 0, 3), (1472, 0, 0), (700, 8, 0)];
    for (v6, tag) in [(false, false), (false, true), (true, false), (true, true)] {
        for (len, options, surplus) in shapes {
            port += 1;
            let payload: Vec<u8> = (0..len).map(|n| n as u8 & 0x3f).collect();
            let there = Packet {
                v6,
                tag,
                options: if v6 { 0 } else { options },
                surplus,
                src: port,
                ..Packet::new(&payload)
            };
            let back = Packet {
                back: true,
                ..there.clone()
            };
            bench.send(Direction::Egress, &there);
            bench.send(Direction::Ingress, &back);
            let seen = bench.seen();
            assert_eq!(seen.len(), 2);
            let ends = [(port, Direction::Egress), (4433, Direction::Ingress)];
            for (gram, end) in seen.iter().zip(ends) {
                assert_eq!((gram.src, gram.direction), end);
                assert_eq!((gram.len as usize, &gram.payload), (len, &payload));
                assert!(!gram.lost && !gram.foreign && !gram.paused);
            }
        }
    }
    let counters = bench.counters();
    assert_eq!((counters.datagrams, counters.datagram_flows), (40, 20));
}

#[test]
fn what_contradicts_itself_is_counted() {
    let mut bench = Bench::new();
    let mut bytes = Packet::new(&[0; 40]).bytes();
    // The datagram is longer than its packet; then shorter than its header.
    for len in [49_u16, 7] {
        bytes[38..40].copy_from_slice(&len.to_be_bytes());
        bytes[35] += 1;
        bench.kernel.run(Direction::Egress, &bytes, 1).expect("run");
        bytes[35] += 1;
    }
    assert_eq!(bench.seen(), []);
    // For the second, a flow was known, so its lookup on the fast path fails.
    assert_eq!(bench.counters().malformed, 2);
}

#[test]
fn a_flow_is_sampled_up_to_its_budget_and_again_in_the_next_interval() {
    let mut bench = Bench::new();
    let mut seen = Vec::new();
    for n in 0..50_u8 {
        bench.client(&[n; 100]);
        // Whatever its first bytes.
        bench.client(&[n | 0x80; 100]);
        seen.extend(bench.seen());
    }
    assert_eq!(seen.len(), OTHER);
    assert!(seen.iter().all(|gram| gram.payload.len() == 100));
    let paused: Vec<_> = seen.iter().map(|gram| gram.paused).collect();
    assert_eq!(paused.iter().filter(|paused| **paused).count(), 1);
    assert!(paused[OTHER - 1], "it says so with the last");
    // The other direction has a budget of its own.
    for _ in 0..50 {
        bench.server(&[7; 1400]);
    }
    let back = bench.seen();
    assert_eq!(back.len(), OTHER);
    assert_eq!(
        back.iter()
            .filter(|gram| gram.payload.len() == 1400)
            .count(),
        BYTES / 1400
    );
    assert_eq!(back[OTHER - 1].payload.len(), HEADER);
    let passed = bench.counters();
    bench.kernel.tick().expect("tick");
    for _ in 0..50 {
        bench.client(&[1; 600]);
    }
    let again = bench.seen();
    assert_eq!(again.len(), LOOKS);
    assert!(
        again
            .iter()
            .all(|gram| gram.payload.len() == 512 && gram.len == 600 && gram.paused)
    );
    let counters = bench.counters();
    assert_eq!(counters.resampled, LOOKS as u64);
    // All others took the fast path.
    assert_eq!(counters.segments - passed.segments, LOOKS as u64);
}

/// A QUIC endpoint can have any number of connections over one pair of ports: each is sampled, and
/// if there are too many, it is reported that some were not.
#[test]
fn a_handshake_is_never_let_by() {
    let mut bench = Bench::new();
    bench.client(&long(1200, 1));
    bench.server(&long(1200, 2));
    let sealed = |bench: &mut Bench| {
        for n in 0..60 {
            bench.client(&short(1200, n));
            bench.server(&short(1200, n));
        }
        let seen = bench.seen();
        let of = |src| {
            seen.iter()
                .filter(|gram| gram.src == src && gram.payload[0] == 0x41)
                .count()
        };
        assert!(seen.iter().all(|gram| gram.payload.len()
            == if gram.payload[0] == 0x41 {
                HEADER
            } else {
                1200
            }));
        assert!(seen.iter().all(|gram| !gram.lost));
        assert_eq!((of(40_000), of(4433)), (SEALED, SEALED));
    };
    sealed(&mut bench);
    for n in 0..8 {
        bench.client(&long(1200, n));
        // Both directions are sampled again.
        sealed(&mut bench);
    }
    let mut lost = false;
    for n in 0..100 {
        for _ in 0..60 {
            bench.client(&short(100, n));
        }
        bench.client(&long(1200, n));
        lost |= bench.seen().iter().any(|gram| gram.lost);
    }
    let counters = bench.counters();
    assert!(counters.lost_over_share > 0 && counters.lost() == counters.lost_over_share);
    assert!(!lost || counters.lost_over_share > 0);
    // In the next interval, the samples say so.
    bench.kernel.tick().expect("tick");
    bench.client(&long(1200, 9));
    let seen = bench.seen();
    assert!(seen[0].lost && seen[0].payload.len() == 1200, "{seen:?}");
    // DTLS: a handshake record after application data.
    let mut bench = Bench::new();
    let record = |kind| [&[kind, 0xfe, 0xfd][..], &[0; 60]].concat();
    bench.client(&record(22));
    for _ in 0..60 {
        bench.client(&record(23));
    }
    assert_eq!(bench.seen().len(), 1 + SEALED);
    bench.client(&record(22));
    assert_eq!(bench.seen().len(), 1);
}

#[test]
fn a_tunnel_is_counted_and_is_a_flow() {
    for (port, name) in [(4789, "VXLAN"), (6081, "Geneve")] {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.send(
                Direction::Egress,
                &Packet {
                    dst: port,
                    ..Packet::new(&[8; 90])
                },
            );
        }
        assert_eq!(bench.seen().len(), OTHER);
        let unread = bench.events.take_unread();
        assert_eq!(unread.len(), 1);
        assert_eq!(unread[0].what, What::Tunnel(name));
        let counters = bench.counters();
        assert_eq!(counters.vxlan + counters.geneve, 100);
    }
}

/// What one pod sends in another's name is marked, wherever it comes from; and the same datagram at
/// the next pod's interface is not taken for another one.
#[test]
fn a_datagram_on_its_way_is_one_and_a_forged_one_is_marked() {
    let mut bench = Bench::new();
    for n in 0..6 {
        bench.client(&[n; 200]);
        // The same program sees it on its way to the receiver.
        bench.send(Direction::Ingress, &Packet::new(&[n; 200]));
    }
    let seen = bench.seen();
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!(seen.iter().all(|gram| !gram.foreign));
    // Something that its sender did not send.
    bench.send(Direction::Ingress, &Packet::new(&[99; 200]));
    let seen = bench.seen();
    assert!(seen.len() == 1 && seen[0].foreign && seen[0].payload == [99; 200]);
    assert_eq!(bench.counters().foreign, 1);
}

/// Segmentation offload: on a veth, the datagrams of one call are one packet.
#[test]
fn super_packets_are_taken_apart() {
    let node = Node::new();
    for (host, pod) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
        within(&node.node, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let _guard = runtime.enter();
            let mut kernel = Kernel::load(&Config::default()).expect("load");
            let mut events = kernel.events().expect("events");
            kernel.attach(node.index("veth0")).expect("attach");
            let receiver = within(&node.pod, || UdpSocket::bind((pod, 0)).expect("bind"));
            receiver
                .set_read_timeout(Some(Duration::from_secs(5)))
                .expect("a timeout");
            let sender = UdpSocket::bind((host, 0)).expect("bind");
            sender
                .connect(receiver.local_addr().expect("an address"))
                .expect("connect");
            let payload: Vec<u8> = (0..9_000_u32).map(|n| (n / 1_000) as u8).collect();
            sendmsg::<()>(
                sender.as_raw_fd(),
                &[IoSlice::new(&payload)],
                &[ControlMessage::UdpGsoSegments(&1_000)],
                MsgFlags::empty(),
                None,
            )
            .expect("send");
            let mut buffer = [0; 2_000];
            for n in 0..9 {
                assert_eq!(
                    receiver.recv(&mut buffer).expect("receive"),
                    1_000,
                    "datagram {n}"
                );
            }
            let mut all = drain(&mut events);
            all.retain(|gram| gram.dst == receiver.local_addr().expect("an address").port());
            assert_eq!(all.len(), 9);
            for (n, gram) in all.iter().enumerate() {
                assert_eq!((gram.len, &gram.payload), (1_000, &vec![n as u8; 1_000]));
                assert_eq!(gram.direction, Direction::Ingress);
            }
            assert_eq!(kernel.counters().datagrams, 1, "one packet");
        });
    }
}
