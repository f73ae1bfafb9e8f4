//! The reader of the ring buffer.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use mtls_core::wire::{Segment, Unread};
use mtls_ebpf_common::event::View;
use nix::time::{ClockId, clock_gettime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use super::{decode, silent::Silent};
use crate::clock;

/// Most events handled in a row, so that a flood cannot keep the task from everything else.
const BATCH: usize = 1024;

/// Shortest time between two drains, unless there is a backlog: a busy node wakes the reader up at
/// most 100 times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// How often connections are looked for that are open and silent, and how long they are so by then.
const WALK: Duration = Duration::from_secs(2);
const SILENCE: u64 = 1_000_000_000;

/// What was not read and waits to be asked for; more is counted as [`Events::take_unread`] says.
const UNREAD: usize = 4096;

/// The reader of the ring buffer.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    silent: Silent,
    /// When the next drain may begin, and the next walk through the flow table.
    next: Instant,
    walk: Instant,
    unread: Vec<Unread>,
    /// Events that could not be understood, or found no room in `unread`.
    malformed: u64,
}

impl Events {
    pub(super) fn new(ring: RingBuf<MapData>, silent: Silent) -> io::Result<Self> {
        // SAFETY: the map behind the ring owns its descriptor, keeps it open as long as it lives, and
        // is never exchanged.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self {
            ring: ring?,
            silent,
            next: Instant::now(),
            walk: Instant::now() + WALK,
            unread: Vec::new(),
            malformed: 0,
        })
    }

    /// Waits for samples and calls `f` for each; how many events there were, at least one.
    ///
    /// One event may yield several segments: the connection's SYNs, a run of payload, headers of
    /// records further on.
    pub async fn next(&mut self, mut f: impl FnMut(&Segment<'_>)) -> io::Result<usize> {
        loop {
            tokio::time::sleep_until(self.next).await;
            let count = tokio::select! {
                guard = self.ring.readable_mut() => {
                    let mut guard = guard?;
                    let mut reader = Reader::new(&mut self.unread, &mut self.malformed);
                    let count = reader.batch(guard.get_inner_mut(), &mut f);
                    // A full batch leaves the readiness as it is: there may be more.
                    if count < BATCH {
                        guard.clear_ready();
                        self.next = Instant::now() + PAUSE;
                    }
                    count
                }
                () = tokio::time::sleep_until(self.walk) => {
                    self.walk = Instant::now() + WALK;
                    let before = now(ClockId::CLOCK_BOOTTIME).saturating_sub(SILENCE);
                    walk(&self.silent, before, &mut f)
                }
            };
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Like [`Self::next`], without waiting: takes what is there, connections that are silent
    /// included.
    pub fn drain(&mut self, mut f: impl FnMut(&Segment<'_>)) -> usize {
        let mut reader = Reader::new(&mut self.unread, &mut self.malformed);
        let mut total = 0;
        loop {
            let count = reader.batch(self.ring.get_mut(), &mut f);
            total += count;
            if count < BATCH {
                return total + walk(&self.silent, u64::MAX, &mut f);
            }
        }
    }

    /// What was seen and could not be read since the last call, at most once for a pair of addresses,
    /// a kind and a recheck interval.
    pub fn take_unread(&mut self) -> Vec<Unread> {
        std::mem::take(&mut self.unread)
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

    fn batch(&mut self, ring: &mut RingBuf<MapData>, f: &mut impl FnMut(&Segment<'_>)) -> usize {
        let mut count = 0;
        while count < BATCH
            && let Some(item) = ring.next()
        {
            self.event(&item, f);
            count += 1;
        }
        count
    }

    fn event(&mut self, bytes: &[u8], f: &mut impl FnMut(&Segment<'_>)) {
        match View::new(bytes) {
            Some(view) if view.head.unread == 0 => decode::segments(&view, self.boot, f),
            Some(view) => match decode::unread(&view.head, self.boot) {
                Some(unread) if self.unread.len() < UNREAD => self.unread.push(unread),
                _ => *self.malformed += 1,
            },
            None => *self.malformed += 1,
        }
    }
}

/// Tells of connections that opened `before` (nanoseconds since boot) and were silent since.
fn walk(silent: &Silent, before: u64, f: &mut impl FnMut(&Segment<'_>)) -> usize {
    let boot = clock::epoch();
    let mut count = 0;
    silent.each(before, |flow| {
        decode::silent(flow, boot, f);
        count += 1;
    });
    count
}

fn now(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}
