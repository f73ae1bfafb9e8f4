//! The TCP connections and the UDP flows of the node, combined.

use crate::kernel::Sample;
use mtls_core::flow::{
    DatagramTable, DatagramView, Event, FlowStats, FlowTable, Handle, Limits, Loss, View,
};
use mtls_core::record::{FlowRecord, Verdict};
use mtls_core::wire::{Endpoint, Unread};

/// Connections closed per step, so that samples are read in between.
const EXPIRED_AT_ONCE: usize = 1_024;

/// All of them.
pub(super) struct Flows {
    connections: FlowTable,
    datagrams: DatagramTable,
}

/// One of them, as it is reported.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    Connection(View<'a>),
    Datagrams(DatagramView<'a>),
}

/// Identifies one that may no longer exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    Connection(Handle),
    Datagrams(Handle),
}

impl Flows {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            connections: FlowTable::new(limits),
            datagrams: DatagramTable::new(limits),
        }
    }

    pub(super) fn observe(&mut self, sample: Sample<'_>, sink: &mut impl FnMut(Event, Seen<'_>)) {
        match sample {
            Sample::Segment(segment) => {
                let sink = &mut |event, view: View<'_>| sink(event, Seen::Connection(view));
                self.connections.observe(segment, sink);
            }
            Sample::Datagram(datagram) => {
                let sink = &mut |event, view: DatagramView<'_>| sink(event, Seen::Datagrams(view));
                self.datagrams.observe(datagram, sink);
            }
        }
    }

    pub(super) fn unread(&mut self, all: &[Unread]) {
        self.connections.unread(all);
        self.datagrams.unread(all);
    }

    pub(super) fn lost(&mut self, loss: &Loss) {
        self.connections.lost(loss);
        self.datagrams.lost(loss);
    }

    /// A connection that lost samples has ended.
    pub(super) fn ended(&mut self, [a, b]: [Endpoint; 2], sink: &mut impl FnMut(Event, Seen<'_>)) {
        let sink = &mut |event, view: View<'_>| sink(event, Seen::Connection(view));
        self.connections.ended(&a, &b, sink);
    }

    /// Closes and forgets what is due, in steps; returns whether there is more.
    pub(super) fn expire(&mut self, now: u64, sink: &mut impl FnMut(Event, Seen<'_>)) -> bool {
        let connections = &mut |event, view: View<'_>| sink(event, Seen::Connection(view));
        let more = self
            .connections
            .expire_some(now, EXPIRED_AT_ONCE, connections);
        self.datagrams
            .expire(now, &mut |event, view| sink(event, Seen::Datagrams(view)));
        more
    }

    pub(super) fn drain(&mut self, sink: &mut impl FnMut(Event, Seen<'_>)) {
        self.connections
            .drain(&mut |event, view| sink(event, Seen::Connection(view)));
        self.datagrams
            .drain(&mut |event, view| sink(event, Seen::Datagrams(view)));
    }

    pub(super) fn look_up(&self, which: Which) -> Option<Seen<'_>> {
        match which {
            Which::Connection(handle) => self.connections.look_up(handle).map(Seen::Connection),
            Which::Datagrams(handle) => self.datagrams.look_up(handle).map(Seen::Datagrams),
        }
    }

    /// Sizes and counts of the TCP connections, and of the UDP flows.
    pub(super) fn stats(&self) -> [FlowStats; 2] {
        [self.connections.stats(), self.datagrams.stats()]
    }
}

impl Seen<'_> {
    /// A unique number among all.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Connection(view) => view.number(),
            Self::Datagrams(view) => view.number(),
        }
    }

    pub(super) fn which(&self) -> Which {
        match self {
            Self::Connection(view) => Which::Connection(view.handle()),
            Self::Datagrams(view) => Which::Datagrams(view.handle()),
        }
    }

    /// Nanoseconds since the Unix epoch.
    pub(super) fn first_seen(&self) -> u64 {
        match self {
            Self::Connection(view) => view.first_seen(),
            Self::Datagrams(view) => view.first_seen(),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Connection(view) => view.verdict(),
            Self::Datagrams(view) => view.verdict(),
        }
    }

    pub(super) fn record(&self) -> FlowRecord {
        match self {
            Self::Connection(view) => view.record(),
            Self::Datagrams(view) => view.record(),
        }
    }
}
