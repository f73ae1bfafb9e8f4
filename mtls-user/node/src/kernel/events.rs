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

/// Most events handled in one batch, so that a flood does not keep the task from everything else.
const BATCH: usize = 1024;

/// Shortest time between two reads, unless there is a backlog: a busy node wakes the reader at most
/// 100 times per second.
const PAUSE: Duration = Duration::from_millis(10);

/// How often the flow table is scanned for connections without a reported sample, and how long a
/// connection must be silent before it is reported.
const WALK: Duration = Duration::from_secs(2);
const SILENCE: u64 = 1_000_000_000;

/// Longest time spent on remaining events when the daemon ends.
const DRAIN: Duration = Duration::from_secs(1);

/// Unread packets waiting to be taken; more are counted as described at [`Events::take_unread`].
const UNREAD: usize = 4096;

/// A sample from the kernel program.
#[derive(Clone, Copy, Debug)]
pub enum Sample<'a> {
    /// Of a TCP connection.
    Segment(&'a Segment<'a>),
    /// Of a UDP flow.
    Datagram(&'a Datagram<'a>),
}

/// The reader of the ring buffer.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Most events that fit in the ring buffer.
    capacity: usize,
    occupancy: Occupancy,
    unreported: Unreported,
    /// Connections found in the flow table. They are reported after everything that was delivered
    /// before they were found has been read …
    found: Vec<Flow>,
    /// How many of them were reported: a flood leaves many, and other work should not wait for all
    /// of them.
    reported: usize,
    /// … which is the case after this many events, or when there are none left.
    ahead: usize,
    /// When the next read may begin, and the next scan of the flow table.
    next: Instant,
    walk: Instant,
    unread: Vec<Unread>,
    ended: Vec<[Endpoint; 2]>,
    /// Events that could not be decoded, or did not fit into `unread`.
    malformed: u64,
}

impl Events {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        bytes: u32,
        unreported: Unreported,
    ) -> io::Result<Self> {
        let occupancy = Occupancy::new(&ring, bytes)?;
        // SAFETY: the map behind the ring owns its descriptor, keeps it open as long as it lives,
        // and is never replaced.
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

    /// Waits for samples and calls `f` for each; returns the number of events, at least one.
    ///
    /// One event may yield several samples: the connection's SYNs, contiguous payload, later record
    /// headers, or the datagrams that segmentation offload has merged into one packet. Connections
    /// that ended without a sample are returned by [`Self::take_ended`] afterwards.
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
                        // After a full batch, the readiness is kept: there may be more.
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

    /// Like [`Self::next`], but without waiting: reads what is available, including silent
    /// connections. It takes no longer than a second, so that the daemon ends in time; what is not
    /// read by then is lost.
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

    /// Scans the flow table.
    fn find(&mut self, before: u64) {
        self.found = self.unreported.take(before);
        self.ahead = self.capacity;
    }

    /// Reads what was delivered before `found`, and then reports `found`, in steps.
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
            // After all have been opened: of two halves, one must not end before the other is
            // known.
            let ended = self.found.iter().filter(|flow| decode::is_over(flow));
            self.ended.extend(ended.map(decode::ends));
            (self.found, self.reported) = (Vec::new(), 0);
        }
        count
    }

    /// The ends of connections that lost samples and have ended since the last call.
    pub fn take_ended(&mut self) -> Vec<[Endpoint; 2]> {
        std::mem::take(&mut self.ended)
    }

    /// Packets that were seen but could not be read since the last call, at most once per pair of
    /// addresses, kind and recheck interval.
    pub fn take_unread(&mut self) -> Vec<Unread> {
        std::mem::take(&mut self.unread)
    }

    /// The ring buffer's current fill level, and its maximum at the start of a read.
    pub fn ring(&self) -> RingStats {
        self.occupancy.stats()
    }

    /// Events that could not be decoded, which would be a bug in the kernel program, or that
    /// exceeded the limit of [`Self::take_unread`].
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
