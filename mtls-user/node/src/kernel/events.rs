//! The reader of the ring buffer.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use mtls_core::record::RingStats;
use mtls_core::wire::{Datagram, Endpoint, Segment, Unread};
use mtls_ebpf_common::{Flow, Head, event::View, packet::protocol};
use nix::time::{ClockId, clock_gettime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use super::{decode, occupancy::Occupancy, unreported::Unreported};
use crate::clock;

/// Most events handled in a row, so that a flood cannot keep the task from everything else.
const BATCH: usize = 1024;

/// Shortest time between two drains, unless there is a backlog: a busy node wakes the reader up at
/// most 100 times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// How often the flow table is looked through for what no sample told, and how long a connection is
/// silent before it is reported.
const WALK: Duration = Duration::from_secs(2);
const SILENCE: u64 = 1_000_000_000;

/// Longest time spent on what is there when the daemon ends.
const DRAIN: Duration = Duration::from_secs(1);

/// What was not read and waits to be asked for; more is counted as [`Events::take_unread`] says.
const UNREAD: usize = 4096;

/// What the kernel program has sampled.
#[derive(Clone, Copy, Debug)]
pub enum Sample<'a> {
    /// Of a connection.
    Segment(&'a Segment<'a>),
    /// Of a flow of datagrams.
    Datagram(&'a Datagram<'a>),
}

/// The reader of the ring buffer.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Most events that the ring buffer can hold.
    capacity: usize,
    occupancy: Occupancy,
    unreported: Unreported,
    /// Found in the flow table. They are reported when everything is read that was delivered before
    /// they were found …
    found: Vec<Flow>,
    /// How many of them were reported: a flood leaves many, and nobody is to wait for all.
    reported: usize,
    /// … which is so after this many events, or when there is none left.
    ahead: usize,
    /// When the next drain may begin, and the next walk through the flow table.
    next: Instant,
    walk: Instant,
    unread: Vec<Unread>,
    ended: Vec<[Endpoint; 2]>,
    /// Events that could not be understood, or found no room in `unread`.
    malformed: u64,
}

impl Events {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        bytes: u32,
        unreported: Unreported,
    ) -> io::Result<Self> {
        let occupancy = Occupancy::new(&ring, bytes)?;
        // SAFETY: the map behind the ring owns its descriptor, keeps it open as long as it lives, and
        // is never exchanged.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self {
            ring: ring?,
            capacity: bytes as usize / size_of::<Head>(),
            occupancy,
            unreported,
            found: Vec::new(),
            reported: 0,
            ahead: 0,
            next: Instant::now(),
            walk: Instant::now() + WALK,
            unread: Vec::new(),
            ended: Vec::new(),
            malformed: 0,
        })
    }

    /// Waits for samples and calls `f` for each; how many events there were, at least one.
    ///
    /// One event may yield several samples: the connection's SYNs, a run of payload, headers of
    /// records further on; the datagrams that segmentation offload has put into one packet. What ended
    /// without a sample is in [`Self::take_ended`] afterwards.
    pub async fn next(&mut self, mut f: impl FnMut(Sample<'_>)) -> io::Result<usize> {
        loop {
            let mut count = 0;
            if self.found.is_empty() {
                tokio::time::sleep_until(self.next).await;
                tokio::select! {
                    guard = self.ring.readable_mut() => {
                        let mut guard = guard?;
                        self.occupancy.look();
                        let mut reader = Reader::new(&mut self.unread, &mut self.malformed);
                        count = reader.batch(guard.get_inner_mut(), &mut f);
                        // A full batch leaves the readiness as it is: there may be more.
                        if count < BATCH {
                            guard.clear_ready();
                            self.next = Instant::now() + PAUSE;
                        }
                    }
                    () = tokio::time::sleep_until(self.walk) => {
                        self.walk = Instant::now() + WALK;
                        let before = now(ClockId::CLOCK_BOOTTIME).saturating_sub(SILENCE);
                        self.find(before);
                    }
                }
            }
            if !self.found.is_empty() {
                count += self.read_ahead(&mut f);
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Like [`Self::next`], without waiting: takes what is there, connections that are silent
    /// included. It takes no longer than a second, so that the daemon ends in time: what
    /// is not read by then is lost.
    pub fn drain(&mut self, mut f: impl FnMut(Sample<'_>)) -> usize {
        if self.found.is_empty() {
            self.find(u64::MAX);
        }
        let begun = Instant::now();
        let mut total = 0;
        loop {
            let count = self.read_ahead(&mut f);
            total += count;
            if self.found.is_empty() || begun.elapsed() > DRAIN {
                return total;
            }
        }
    }

    /// Looks through the flow table.
    fn find(&mut self, before: u64) {
        self.found = self.unreported.take(before);
        self.ahead = self.capacity;
    }

    /// Reads what was delivered before `found` was, and then reports that, some at a time.
    fn read_ahead(&mut self, f: &mut impl FnMut(Sample<'_>)) -> usize {
        let mut reader = Reader::new(&mut self.unread, &mut self.malformed);
        let count = reader.batch(self.ring.get_mut(), f);
        let boot = reader.boot;
        self.ahead = self.ahead.saturating_sub(count);
        if count == BATCH && self.ahead > 0 {
            return count;
        }
        let rest = &self.found[self.reported..];
        let some = &rest[..rest.len().min(BATCH)];
        for flow in some {
            if flow.transport == protocol::UDP {
                f(Sample::Datagram(&decode::unreported_datagram(flow, boot)));
            } else {
                decode::unreported(flow, boot, &mut |segment| f(Sample::Segment(segment)));
            }
        }
        let count = count + some.len();
        self.reported += some.len();
        if self.reported == self.found.len() {
            // Once all have been opened: of two halves, one is not to be over before the other is
            // known.
            let ended = self.found.iter().filter(|flow| decode::is_over(flow));
            self.ended.extend(ended.map(decode::ends));
            (self.found, self.reported) = (Vec::new(), 0);
        }
        count
    }

    /// The ends of connections, of which samples were lost, that are over since the last call.
    pub fn take_ended(&mut self) -> Vec<[Endpoint; 2]> {
        std::mem::take(&mut self.ended)
    }

    /// What was seen and could not be read since the last call, at most once for a pair of addresses,
    /// a kind and a recheck interval.
    pub fn take_unread(&mut self) -> Vec<Unread> {
        std::mem::take(&mut self.unread)
    }

    /// How full the ring buffer is, and was at most when it was about to be read.
    pub fn ring(&self) -> RingStats {
        self.occupancy.stats()
    }

    /// Events that were not understood, which would be a fault of the kernel program, or of which
    /// there were more than [`Self::take_unread`] was asked for.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

struct Reader<'a> {
    boot: u64,
    unread: &'a mut Vec<Unread>,
    malformed: &'a mut u64,
}

impl<'a> Reader<'a> {
    fn new(unread: &'a mut Vec<Unread>, malformed: &'a mut u64) -> Self {
        Self {
            boot: clock::epoch(),
            unread,
            malformed,
        }
    }

    fn batch(&mut self, ring: &mut RingBuf<MapData>, f: &mut impl FnMut(Sample<'_>)) -> usize {
        let mut count = 0;
        while count < BATCH
            && let Some(item) = ring.next()
        {
            self.event(&item, f);
            count += 1;
        }
        count
    }

    fn event(&mut self, bytes: &[u8], f: &mut impl FnMut(Sample<'_>)) {
        match View::new(bytes) {
            Some(view) if view.head.unread == 0 && view.head.transport == protocol::UDP => {
                decode::datagrams(&view, self.boot, &mut |datagram| {
                    f(Sample::Datagram(datagram));
                });
            }
            Some(view) if view.head.unread == 0 => {
                decode::segments(&view, self.boot, &mut |segment| f(Sample::Segment(segment)));
            }
            Some(view) => match decode::unread(&view.head, self.boot) {
                Some(unread) if self.unread.len() < UNREAD => self.unread.push(unread),
                _ => *self.malformed += 1,
            },
            None => *self.malformed += 1,
        }
    }
}

fn now(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}
