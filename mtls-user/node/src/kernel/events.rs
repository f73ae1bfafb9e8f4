//! From the ring buffer to [`Segment`]s.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use mtls_ebpf_common::event::{self, View};
use nix::time::{ClockId, clock_gettime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use mtls_core::wire::{Direction, Endpoint, Segment, TcpFlags};

/// Most events handled in a row, so that a flood cannot keep the task from everything else.
const BATCH: usize = 1024;

/// Shortest time between two drains, unless there is a backlog: a busy node wakes the reader up at
/// most 100 times a second, an idle one not at all.
const PAUSE: Duration = Duration::from_millis(10);

/// The reader of the ring buffer.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// When the next drain may begin.
    next: Instant,
}

impl Events {
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the map behind the ring owns its descriptor, keeps it open as long as it lives, and
        // is never exchanged.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self {
            ring: ring?,
            next: Instant::now(),
        })
    }

    /// Waits for samples and calls `f` for each; how many events there were, at least one.
    ///
    /// One event may yield several segments: a prefix, and headers of records further on.
    pub async fn next(&mut self, mut f: impl FnMut(&Segment<'_>)) -> io::Result<usize> {
        loop {
            tokio::time::sleep_until(self.next).await;
            let mut guard = self.ring.readable_mut().await?;
            let count = drain(guard.get_inner_mut(), &mut f);
            // A full batch leaves the readiness as it is: there may be more.
            if count < BATCH {
                guard.clear_ready();
                self.next = Instant::now() + PAUSE;
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Like [`Self::next`], without waiting: takes what is there.
    pub fn drain(&mut self, mut f: impl FnMut(&Segment<'_>)) -> usize {
        let mut total = 0;
        loop {
            let count = drain(self.ring.get_mut(), &mut f);
            total += count;
            if count < BATCH {
                return total;
            }
        }
    }
}

fn drain(ring: &mut RingBuf<MapData>, f: &mut impl FnMut(&Segment<'_>)) -> usize {
    let boot = boot_time();
    let mut count = 0;
    while count < BATCH
        && let Some(item) = ring.next()
    {
        if let Some(view) = View::new(&item) {
            segments(&view, boot, f);
        }
        count += 1;
    }
    count
}

/// The wall-clock time of boot, in nanoseconds: what turns the kernel's time stamps into times.
/// Asked for anew for each batch, as the wall clock may be set.
fn boot_time() -> u64 {
    let now = |clock| {
        clock_gettime(clock).map_or(0, |time| {
            time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
        })
    };
    now(ClockId::CLOCK_REALTIME).saturating_sub(now(ClockId::CLOCK_BOOTTIME))
}

/// The segments that an event stands for: the captured bytes, then each record header.
fn segments(view: &View<'_>, boot: u64, f: &mut impl FnMut(&Segment<'_>)) {
    let head = &view.head;
    let has = |bit| head.bits & bit != 0;
    let whole = Segment {
        time: boot.wrapping_add(head.time),
        link: head.ifindex,
        direction: if has(event::EGRESS) {
            Direction::Egress
        } else {
            Direction::Ingress
        },
        src: Endpoint {
            ip: head.src,
            port: head.src_port,
        },
        dst: Endpoint {
            ip: head.dst,
            port: head.dst_port,
        },
        seq: head.seq,
        ack: head.ack,
        flags: TcpFlags(head.tcp_flags),
        len: head.len,
        payload: view.payload,
        isn: (
            has(event::SENDER_ISN).then_some(head.isn[0]),
            has(event::RECEIVER_ISN).then_some(head.isn[1]),
        ),
        midstream: has(event::MIDSTREAM),
        again: has(event::AGAIN),
        lost: has(event::LOST),
    };
    if view.control {
        f(&whole);
        return;
    }
    if head.captured > 0 {
        f(&Segment {
            seq: head.seq.wrapping_add(head.offset),
            len: head.len.saturating_sub(head.offset),
            ..whole
        });
    }
    for (offset, bytes) in view.records() {
        f(&Segment {
            seq: head.seq.wrapping_add(offset),
            len: bytes.len() as u32,
            payload: bytes,
            ..whole
        });
    }
}

#[cfg(test)]
mod tests {
    use mtls_ebpf_common::{
        Head, RecordHeader,
        event::{EGRESS, RECORDS, SENDER_ISN},
    };

    use super::*;

    fn head(flags: u8, len: u32) -> Head {
        Head {
            time: 5,
            src: [1; 16],
            dst: [2; 16],
            src_port: 1,
            dst_port: 2,
            ifindex: 9,
            seq: 1000,
            ack: 7,
            isn: [999, 0],
            len,
            offset: 0,
            captured: 0,
            bits: EGRESS | SENDER_ISN,
            tcp_flags: flags,
            records: 0,
        }
    }

    /// (seq, len, payload, flags) of each segment.
    fn read(view: &View<'_>) -> Vec<(u32, u32, Vec<u8>, u8)> {
        let mut all = Vec::new();
        segments(view, 100, &mut |segment| {
            assert_eq!(segment.time, 105);
            assert_eq!(segment.isn, (Some(999), None));
            assert_eq!(segment.direction, Direction::Egress);
            all.push((
                segment.seq,
                segment.len,
                segment.payload.to_vec(),
                segment.flags.0,
            ));
        });
        all
    }

    #[test]
    fn a_head_alone_is_one_segment() {
        let view = View {
            head: head(TcpFlags::FIN, 30),
            records: [RecordHeader::default(); RECORDS],
            payload: &[],
            control: true,
        };
        assert_eq!(read(&view), [(1000, 30, vec![], TcpFlags::FIN)]);
    }

    #[test]
    fn record_headers_follow_the_captured_bytes() {
        let mut records = [RecordHeader::default(); RECORDS];
        records[0] = RecordHeader {
            offset: 200,
            bytes: [23, 3, 3, 0, 60],
            len: 5,
            reserved: [0; 2],
        };
        records[1] = RecordHeader {
            offset: 265,
            bytes: [23, 3, 0, 0, 0],
            len: 2,
            reserved: [0; 2],
        };
        let view = View {
            head: Head {
                offset: 10,
                captured: 3,
                records: 2,
                ..head(TcpFlags::ACK, 267)
            },
            records,
            payload: b"abc",
            control: false,
        };
        assert_eq!(
            read(&view),
            [
                (1010, 257, b"abc".to_vec(), TcpFlags::ACK),
                (1200, 5, vec![23, 3, 3, 0, 60], TcpFlags::ACK),
                (1265, 2, vec![23, 3], TcpFlags::ACK),
            ]
        );
    }
}
