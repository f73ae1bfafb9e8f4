//! `mtls classify`: the engine of the daemon on capture files, without privileges.

use std::io::{self, Write};
use std::process::ExitCode;

use super::args::Classify;
use crate::output::{self, Format, Listing, Look, Screen, Sheet};
use crate::source::capture::{self, Unread};
use mtls_core::record::{CaptureList, FlowRecord, List, Time};
use serde::Serialize;

/// Flows of a table held before it is printed; beyond it, JSON lines are the way.
const MAX_ROWS: usize = 1_000_000;

pub(super) fn run(args: &Classify) -> anyhow::Result<ExitCode> {
    args.select.names_no_source()?;
    let filter = args.select.filter();
    let lines = args.output.format == Format::Jsonl && filter.last.is_none();
    let mut rows = Vec::new();
    let mut latest = Time::default();
    let mut dropped = 0_u64;
    let mut out = Lines::new(io::stdout().lock());
    let mut written = Ok(());
    let several = args.files.len() > 1;
    let mut unread = Unread::default();
    let mut read_any = false;
    for path in &args.files {
        let inherit = args.resumptions.inherit();
        let read = capture::classify(path, inherit, &mut unread, |mut record| {
            if several {
                record.file = Some(path.display().to_string().into());
            }
            latest = latest.max(record.last_seen);
            if lines {
                if written.is_ok() && filter.takes(&record, latest) {
                    written = out.line(&record);
                }
            } else if rows.len() < MAX_ROWS {
                rows.push(record);
            } else {
                dropped += 1;
            }
        });
        // One file that cannot be read does not silence the others.
        read_any |= read.is_ok();
        let whole = read.unwrap_or_else(|error| {
            eprintln!("mtls: {}", output::safe(&format!("{error:#}")));
            false
        });
        if !whole {
            unread.unreadable.push(path.display().to_string());
        }
        if written.is_err() {
            break;
        }
    }
    written?;
    out.finish()?;
    unread.say();
    // Without a file that can be read, there is nothing to say beyond the errors.
    let readable = read_any || args.output.format != Format::Table;
    if !lines && readable {
        super::filter(&filter, &mut rows, latest, "connection");
        let now = Time::from_nanos(mtls_node::clock::now());
        let shown = Shown(CaptureList {
            list: List::new(None, now, rows),
            not_looked_at: unread.record(),
        });
        let output = &args.output;
        let sort_by = output.sort_by.as_deref();
        let screen = Screen::of_stdout();
        let headers = !output.no_headers;
        super::print(&output::list(
            shown,
            &output.format,
            headers,
            sort_by,
            screen,
        )?)?;
    }
    if dropped > 0 {
        eprintln!(
            "mtls: {dropped} flows left out: this format holds at most {MAX_ROWS}; use -o jsonl"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(if unread.unreadable.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The flows, as they are to be shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(CaptureList);

impl Listing for Shown {
    type Item = FlowRecord;

    fn items(&mut self) -> &mut Vec<FlowRecord> {
        &mut self.0.list.items
    }

    fn sheet(&self, look: Look) -> Sheet {
        output::classified(&self.0.list.items, look)
    }

    fn name(flow: &FlowRecord) -> String {
        output::flow_name(flow)
    }

    fn line(flow: &FlowRecord) -> Option<String> {
        Some(output::flow_line(flow))
    }
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
        let line = output::json(record, false)?;
        self.text.extend(line.as_bytes());
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
