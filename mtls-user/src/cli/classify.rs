//! `mtls classify`: the engine of the daemon on capture files, without privileges.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::{Classify, Format};
use crate::output;
use mtls_core::capture::{Capture, Decoded, Decoder, Skips};
use mtls_core::flow::{DatagramTable, Event, FlowTable, Limits, Loss, View};
use mtls_core::record::{FlowRecord, Unseen};

/// Flows of a table held before it is printed; beyond it, JSON lines are the way.
const MAX_ROWS: usize = 1_000_000;
/// Files smaller than this are read before a progress bar could be.
const LARGE: u64 = 32 << 20;
/// Packets between two looks for connections that were quiet too long.
const EXPIRE_EVERY: u64 = 65_536;

pub(super) fn run(args: &Classify) -> anyhow::Result<ExitCode> {
    let lines = args.output == Format::Jsonl;
    let mut rows = Vec::new();
    let mut dropped = 0_u64;
    let mut out = Lines::new(io::stdout().lock());
    let mut written = Ok(());
    let several = args.files.len() > 1;
    let mut damaged = false;
    let mut unread = Unread::default();
    for path in &args.files {
        let inherit = args.resumptions.inherit();
        let read = file(path, inherit, &mut unread, |mut record| {
            if several {
                record.file = Some(path.display().to_string().into());
            }
            if lines {
                if written.is_ok() {
                    written = out.line(&record);
                }
            } else if rows.len() < MAX_ROWS {
                rows.push(record);
            } else {
                dropped += 1;
            }
        });
        // One file that cannot be read does not silence the others.
        damaged |= !read.unwrap_or_else(|error| {
            eprintln!("mtls: {}", output::safe(&format!("{error:#}")));
            false
        });
        if written.is_err() {
            break;
        }
    }
    written?;
    out.finish()?;
    unread.say();
    match args.output {
        Format::Jsonl => {}
        Format::Json => super::print_json_list(None, &rows)?,
        Format::Table | Format::Wide => {
            super::print(&output::flows(&rows, args.output == Format::Wide))?;
        }
    }
    if dropped > 0 {
        eprintln!(
            "mtls: {dropped} flows more than the {MAX_ROWS} that this output holds were left out: use -o jsonl"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// JSON lines, written in large pieces.
struct Lines<W> {
    text: Vec<u8>,
    out: W,
}

impl<W: Write> Lines<W> {
    const PIECE: usize = 1 << 16;

    fn new(out: W) -> Self {
        Self {
            text: Vec::with_capacity(Self::PIECE + (1 << 12)),
            out,
        }
    }

    fn line(&mut self, record: &FlowRecord) -> io::Result<()> {
        // A vector takes what a writer behind checks of room would take far longer for.
        serde_json::to_writer(&mut self.text, record)?;
        self.text.push(b'\n');
        if self.text.len() >= Self::PIECE {
            self.out.write_all(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.text)?;
        self.out.flush()
    }
}

/// What was not looked at, of all files.
#[derive(Default)]
struct Unread {
    packets: u64,
    skips: Skips,
    link_types: BTreeSet<u16>,
    damaged: u64,
}

impl Unread {
    /// One line, so that nothing is missed in silence.
    fn say(&self) {
        let total = self.skips.total();
        if total == 0 && self.damaged == 0 {
            return;
        }
        eprint!(
            "mtls: of {} packets, not looked at: {}",
            self.packets, self.skips
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
fn file(
    path: &Path,
    inherit: bool,
    unread: &mut Unread,
    mut each: impl FnMut(FlowRecord),
) -> anyhow::Result<bool> {
    let capture = Capture::open(path)?;
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
            match decoder.decode(packet) {
                Some(Decoded::Segment(segment)) => table.observe(&segment, &mut sink),
                Some(Decoded::Datagram(datagram)) => {
                    datagrams.observe(&datagram, &mut datagram_sink);
                }
                None => {}
            }
            if packets.is_multiple_of(EXPIRE_EVERY) {
                note_fragments(&mut decoder, &mut table);
                table.expire(packet.time, &mut sink);
                datagrams.expire(packet.time, &mut datagram_sink);
            }
        },
    );
    decoder.finish();
    note_fragments(&mut decoder, &mut table);
    table.drain(&mut sink);
    datagrams.drain(&mut datagram_sink);
    bar.finish_and_clear();
    unread.packets += packets;
    unread.skips.extend(&decoder.skips);
    unread.damaged += table.stats().damaged;
    unread
        .link_types
        .extend(decoder.unknown_link_type.map(|link_type| link_type.0));
    let summary = summary.with_context(|| format!("read {}", path.display()))?;
    if let Some(damage) = &summary.damage {
        eprintln!(
            "mtls: {}: {}; the flows before that are told",
            output::safe(&path.display().to_string()),
            output::safe(damage)
        );
    }
    Ok(summary.damage.is_none())
}

/// Fragments whose packets are not complete may have been of any connection between their ends.
fn note_fragments(decoder: &mut Decoder, table: &mut FlowTable) {
    for (between, since) in decoder.incomplete() {
        table.lost(&Loss {
            what: Unseen::Fragments,
            link: None,
            between: Some(between),
            since,
            until: u64::MAX,
        });
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
