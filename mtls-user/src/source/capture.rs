//! Capture files, read with the engine of the daemon.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use mtls_core::capture::{Capture, Decoded, Decoder, Skips};
use mtls_core::flow::{DatagramTable, Event, FlowTable, Limits, Loss, View};
use mtls_core::record::{FlowRecord, NotLookedAt, Unseen};

use crate::output::{count, safe};

/// Files smaller than this are read before a progress bar could be.
const LARGE: u64 = 32 << 20;
/// Packets between two looks for connections that were quiet too long.
const EXPIRE_EVERY: u64 = 65_536;

/// What was not looked at, of all files.
#[derive(Default)]
pub(crate) struct Unread {
    packets: u64,
    skips: Skips,
    link_types: BTreeSet<u16>,
    damaged: u64,
    pub(crate) unreadable: Vec<String>,
}

impl Unread {
    /// The same for JSON.
    pub(crate) fn record(&self) -> NotLookedAt {
        let by_name = self.skips.by_name();
        NotLookedAt {
            packets: self.packets,
            skipped: by_name.map(|(name, n)| (name.into(), n)).collect(),
            wrong_checksum: self.damaged,
            link_types: self.link_types.clone(),
            unreadable: self.unreadable.clone(),
        }
    }

    /// One line, so that nothing is missed in silence.
    pub(crate) fn say(&self) {
        let total = self.skips.total();
        if total == 0 && self.damaged == 0 {
            return;
        }
        let skipped = total + self.damaged;
        eprint!(
            "mtls: {skipped} of {} skipped: {}",
            count(self.packets, "packet"),
            self.skips
        );
        if self.damaged > 0 {
            let comma = if total > 0 { ", " } else { "" };
            eprint!("{comma}{} with a wrong checksum", self.damaged);
        }
        for (at, link_type) in self.link_types.iter().enumerate() {
            let words = if at == 0 { " (link type " } else { ", " };
            eprint!("{words}{link_type}");
        }
        eprintln!("{}", if self.link_types.is_empty() { "" } else { ")" });
    }
}

/// Classifies one capture; false when it breaks off.
pub(crate) fn classify(
    path: &Path,
    inherit: bool,
    unread: &mut Unread,
    each: impl FnMut(FlowRecord),
) -> anyhow::Result<bool> {
    classify_and(path, inherit, unread, |_| {}, each)
}

/// The same, with each segment and datagram before what becomes of it.
pub(crate) fn classify_and(
    path: &Path,
    inherit: bool,
    unread: &mut Unread,
    sample: impl FnMut(&Decoded<'_>),
    each: impl FnMut(FlowRecord),
) -> anyhow::Result<bool> {
    let shown = super::file::shown(path);
    read(Capture::open(path)?, &shown, inherit, unread, sample, each)
}

/// The same of a capture that is open, and called `shown`.
pub(super) fn read(
    capture: Capture,
    shown: &str,
    inherit: bool,
    unread: &mut Unread,
    mut sample: impl FnMut(&Decoded<'_>),
    mut each: impl FnMut(FlowRecord),
) -> anyhow::Result<bool> {
    let bar = progress(capture.size());
    let mut decoder = Decoder::default();
    let limits = Limits {
        flows: 4 << 20,
        inherit,
        ..Limits::default()
    };
    let mut table = FlowTable::new(limits);
    let mut datagrams = DatagramTable::new(limits);
    let each = std::cell::RefCell::new(&mut each);
    let mut sink = |event, view: View<'_>| {
        if event == Event::Closed {
            each.borrow_mut()(view.record());
        }
    };
    let mut datagram_sink = |event, view: mtls_core::flow::DatagramView<'_>| {
        if event == Event::Closed {
            each.borrow_mut()(view.record());
        }
    };
    let mut packets = 0_u64;
    let summary = capture.read(
        |consumed| bar.set_position(consumed),
        |packet| {
            packets += 1;
            let decoded = decoder.decode(packet);
            if let Some(decoded) = &decoded {
                sample(decoded);
            }
            match decoded {
                Some(Decoded::Segment(segment)) => table.observe(&segment, &mut sink),
                Some(Decoded::Datagram(datagram)) => {
                    datagrams.observe(&datagram, &mut datagram_sink);
                }
                None => {}
            }
            if packets.is_multiple_of(EXPIRE_EVERY) {
                note_fragments(&mut decoder, &mut table, &mut datagrams);
                table.expire(packet.time, &mut sink);
                datagrams.expire(packet.time, &mut datagram_sink);
            }
        },
    );
    decoder.finish();
    note_fragments(&mut decoder, &mut table, &mut datagrams);
    table.drain(&mut sink);
    datagrams.drain(&mut datagram_sink);
    bar.finish_and_clear();
    unread.packets += packets;
    unread.skips.extend(&decoder.skips);
    unread.damaged += table.stats().damaged;
    unread
        .link_types
        .extend(decoder.unknown_link_type.map(|link_type| link_type.0));
    let summary = summary.with_context(|| format!("read {shown} as a capture"))?;
    if let Some(damage) = &summary.damage {
        eprintln!(
            "mtls: {}: {}; the flows before that are shown",
            safe(shown),
            safe(damage)
        );
    }
    Ok(summary.damage.is_none())
}

/// Fragments whose packets are not complete may have been of any connection between their ends.
fn note_fragments(decoder: &mut Decoder, table: &mut FlowTable, datagrams: &mut DatagramTable) {
    for (between, since) in decoder.incomplete() {
        let loss = Loss {
            what: Unseen::Fragments,
            link: None,
            between: Some(between),
            since,
            until: u64::MAX,
        };
        table.lost(&loss);
        datagrams.lost(&loss);
    }
}

fn progress(size: Option<u64>) -> ProgressBar {
    let (Some(size), true) = (size, io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    if size < LARGE {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two packets of EtherTypes that nobody here reads.
    #[test]
    fn what_was_not_looked_at_is_in_the_json() {
        let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        bytes.extend([
            2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0,
        ]);
        for ethertype in [[0x99, 0x99], [0x88, 0xe5]] {
            bytes.extend([0; 8]);
            bytes.extend([54, 0, 0, 0, 54, 0, 0, 0]);
            bytes.extend([2; 12]);
            bytes.extend(ethertype);
            bytes.extend([0; 40]);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd.pcap");
        std::fs::write(&path, bytes).unwrap();
        let mut unread = Unread::default();
        let whole = classify(&path, true, &mut unread, |flow| panic!("{flow:?}")).unwrap();
        assert!(whole);
        let record = unread.record();
        assert_eq!(record.packets, 2);
        let skipped: Vec<_> = record
            .skipped
            .iter()
            .map(|(kind, n)| (&**kind, *n))
            .collect();
        assert_eq!(skipped, [("encrypted", 1), ("not_ip", 1)]);
    }
}
