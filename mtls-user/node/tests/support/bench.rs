//! One connection, sent through the loaded kernel program (`BPF_PROG_TEST_RUN`) packet by packet.

use mtls_core::wire::{Direction, TcpFlags};
use mtls_node::kernel::{Config, Counters, Events, Kernel};

use super::{Seen, packet::Packet, segments};

pub(crate) const SYN: u8 = TcpFlags::SYN;
pub(crate) const ACK: u8 = TcpFlags::ACK;
pub(crate) const FIN: u8 = TcpFlags::FIN;
pub(crate) const RST: u8 = TcpFlags::RST;
/// The client's and the server's initial sequence numbers; the client's wraps soon.
pub(crate) const ISN: [u32; 2] = [u32::MAX - 400, 7000];

/// One connection, and the program that sees it.
pub(crate) struct Bench {
    pub(crate) kernel: Kernel,
    pub(crate) events: Events,
    pub(crate) port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub(crate) fn new(config: &Config) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let mut kernel = Kernel::load(config).expect("load (these tests need root)");
        let events = kernel.events().expect("events");
        Self {
            kernel,
            events,
            port: 40_000,
            _runtime: runtime,
        }
    }

    /// Both SYNs of a new connection.
    pub(crate) fn open(&mut self) {
        self.port += 1;
        self.raw(false, ISN[0], 0, SYN, b"");
        self.raw(true, ISN[1], ISN[0].wrapping_add(1), SYN | ACK, b"");
    }

    pub(crate) fn packet(
        &self,
        back: bool,
        seq: u32,
        ack: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let packet = Packet {
            src_port: self.port,
            back,
            seq,
            ack,
            flags,
            payload,
            ..Packet::default()
        };
        packet.bytes()
    }

    pub(crate) fn raw(&mut self, back: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) {
        let packet = self.packet(back, seq, ack, flags, payload);
        let direction = if back {
            Direction::Ingress
        } else {
            Direction::Egress
        };
        self.kernel.run(direction, &packet, 1).expect("run");
    }

    /// Payload at an offset of the client's (`back`: the server's) stream.
    pub(crate) fn send(&mut self, back: bool, offset: usize, payload: &[u8]) {
        self.send_flagged(back, offset, payload, ACK);
    }

    pub(crate) fn send_flagged(&mut self, back: bool, offset: usize, payload: &[u8], flags: u8) {
        let seq = ISN[usize::from(back)]
            .wrapping_add(1)
            .wrapping_add(offset as u32);
        let ack = ISN[usize::from(!back)].wrapping_add(1);
        self.raw(back, seq, ack, flags, payload);
    }

    /// What was sampled since, without the SYNs: offset, bytes.
    pub(crate) fn take(&mut self) -> Vec<(usize, Vec<u8>)> {
        let seen = self.seen();
        seen.iter()
            .filter(|s| s.flags & SYN == 0 && !s.payload.is_empty())
            .map(|s| {
                let isn = s.isn.0.expect("the sender's ISN is known");
                (
                    s.seq.wrapping_sub(isn).wrapping_sub(1) as usize,
                    s.payload.clone(),
                )
            })
            .collect()
    }

    pub(crate) fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.events
            .drain(segments(|segment| seen.push(Seen::from(segment))));
        seen
    }

    pub(crate) fn counters(&self) -> Counters {
        let counters = self.kernel.counters();
        let sum = counters.sampled + counters.skipped + counters.lost();
        assert_eq!(counters.segments, sum, "{counters:?}");
        counters
    }
}
