//! One connection whose packets a test provides one by one.

use super::*;

pub(super) const GET: &[u8] = b"GET /secret HTTP/1.1\r\nHost: db\r\nUser-Agent: curl/8\r\n\r\n";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
pub(super) const SECOND: u64 = 1_000_000_000;

/// A table with one connection from 10.0.0.1:40000 to 10.0.0.2:80, ISNs 99 and 499, and its events.
pub(super) struct Scene {
    pub(super) table: FlowTable,
    pub(super) events: Vec<(Event, FlowRecord)>,
    pub(super) time: u64,
    /// Interfaces of the client's pod and of the server's; zero in a capture.
    pub(super) links: [u32; 2],
}

pub(super) fn client() -> Endpoint {
    end(1, 40_000)
}

pub(super) fn server() -> Endpoint {
    end(2, 80)
}

impl Scene {
    pub(super) fn new() -> Self {
        Self {
            table: FlowTable::new(Limits::default()),
            events: Vec::new(),
            time: SECOND,
            links: [0; 2],
        }
    }

    pub(super) fn give(&mut self, mut s: Segment<'_>) {
        self.time += 1_000_000;
        s.time = self.time;
        let events = &mut self.events;
        self.table
            .observe(&s, &mut |event, view| events.push((event, view.record())));
    }

    /// As the two veths on its path see it: leaving the sender's pod, then on its way to the
    /// receiver's.
    pub(super) fn cross(&mut self, mut s: Segment<'_>) {
        if self.links == [0; 2] {
            return self.give(s);
        }
        let [from, to] = if s.src == client() {
            self.links
        } else {
            [self.links[1], self.links[0]]
        };
        (s.link, s.direction) = (from, Direction::Egress);
        self.give(s);
        (s.link, s.direction) = (to, Direction::Ingress);
        self.give(s);
    }

    pub(super) fn c(&mut self, seq: u32, ack: u32, flags: u8) {
        self.cross(segment(client(), server(), seq, ack, flags));
    }

    pub(super) fn s(&mut self, seq: u32, ack: u32, flags: u8) {
        self.cross(segment(server(), client(), seq, ack, flags));
    }

    pub(super) fn open(&mut self) {
        self.c(99, 0, SYN);
        self.s(499, 100, SYN | ACK);
        self.c(100, 500, ACK);
    }

    pub(super) fn exchange(&mut self) {
        self.cross(data(segment(client(), server(), 100, 500, ACK), GET));
        self.cross(data(
            segment(server(), client(), 500, 100 + GET.len() as u32, ACK),
            OK,
        ));
    }

    pub(super) fn close(&mut self) {
        let (c, s) = (100 + GET.len() as u32, 500 + OK.len() as u32);
        self.c(c, s, ACK | FIN);
        self.s(s, c + 1, ACK | FIN);
    }

    /// Everything that was reported on close, after closing what is still open.
    pub(super) fn closed(mut self) -> Vec<FlowRecord> {
        let events = &mut self.events;
        self.table
            .drain(&mut |event, view| events.push((event, view.record())));
        let closed = self.events.into_iter().filter(|e| e.0 == Event::Closed);
        closed.map(|e| e.1).collect()
    }

    pub(super) fn only(self) -> FlowRecord {
        let mut all = self.closed();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}
