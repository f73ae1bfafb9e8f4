//! `mtls classify`: the engine of the daemon on capture files, without privileges.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{Classify, Format};
use crate::output;
use mtls_core::capture::{Capture, Decoded, Decoder};
use mtls_core::flow::{DatagramTable, Event, FlowTable, Limits};
use mtls_core::record::FlowRecord;

/// Flows of a table held before it is printed; beyond it, JSON lines are the way.
const MAX_ROWS: usize = 1_000_000;
/// Files smaller than this are read before a progress bar could be.
const LARGE: u64 = 32 << 20;
/// Segments between two looks for connections that were quiet too long.
const EXPIRE_EVERY: u64 = 65_536;

pub(super) fn run(args: &Classify) -> anyhow::Result<ExitCode> {
    let lines = args.output == Format::Jsonl;
    let mut rows = Vec::new();
    let mut dropped = 0_u64;
    let mut out = Lines::new(io::stdout().lock());
    let mut written = Ok(());
    let several = args.files.len() > 1;
    let mut damaged = false;
    for path in &args.files {
        damaged |= !file(path, args.resumptions.inherit(), |mut record| {
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
        })?;
        if written.is_err() {
            break;
        }
    }
    written?;
    out.finish()?;
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

/// Classifies one capture; false when it breaks off.
fn file(path: &Path, inherit: bool, mut each: impl FnMut(FlowRecord)) -> anyhow::Result<bool> {
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
    let mut sink = |event, view: mtls_core::flow::View<'_>| {
        if event == Event::Closed {
            each.borrow_mut()(view.record());
        }
    };
    let mut datagram_sink = |event, view: mtls_core::flow::DatagramView<'_>| {
        if event == Event::Closed {
            each.borrow_mut()(view.record());
        }
    };
    let summary = capture.read(
        |consumed| bar.set_position(consumed),
        |packet| {
            match decoder.decode(packet) {
                Some(Decoded::Segment(segment)) => table.observe(&segment, &mut sink),
                Some(Decoded::Datagram(datagram)) => {
                    datagrams.observe(&datagram, &mut datagram_sink);
                }
                None => return,
            }
            if decoder.segments.is_multiple_of(EXPIRE_EVERY) {
                table.expire(packet.time, &mut sink);
                datagrams.expire(packet.time, &mut datagram_sink);
            }
        },
    );
    table.drain(&mut sink);
    datagrams.drain(&mut datagram_sink);
    bar.finish_and_clear();
    let summary = summary.map_err(|error| error.context(format!("read {}", path.display())))?;
    let shown = path.display().to_string();
    report(&output::safe(&shown), &decoder);
    if let Some(damage) = &summary.damage {
        eprintln!(
            "mtls: {}: {}; the flows before that are told",
            output::safe(&shown),
            output::safe(damage)
        );
    }
    Ok(summary.damage.is_none())
}

/// Says what was passed over, so that nothing is missed in silence.
fn report(path: &str, decoder: &Decoder) {
    let skips = &decoder.skips;
    let told = [
        (skips.fragments, "IP fragments, which are not put together"),
        (skips.short, "packets cut before the end of their headers"),
        (skips.malformed, "malformed packets"),
        (
            skips.link_type,
            "packets of a link type that is not understood",
        ),
    ];
    for (n, what) in told {
        if n > 0 {
            eprintln!("mtls: {path}: skipped {n} {what}");
        }
    }
    if let Some(link_type) = decoder.unknown_link_type {
        eprintln!(
            "mtls: {path}: link type {} is not understood (Ethernet, Linux cooked, raw IP and loopback are)",
            link_type.0
        );
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
