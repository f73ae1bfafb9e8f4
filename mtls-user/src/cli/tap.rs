//! `mtls tap`.

use std::process::ExitCode;
use std::sync::Arc;

use mtls_core::record::{Event, FlowRecord, TapLine, Word};
use smol_str::SmolStr;
use tokio::time::{Instant, sleep_until};

use super::args::Tap;
use crate::output::{self, Format, Screen, Style};
use crate::select::Filter;
use crate::source::{Source, block_on};
use crate::usage::wrong;

/// Most flows remembered as printed.
const REMEMBERED: usize = 65_536;

pub(super) fn run(args: &Tap, whom: &Source) -> anyhow::Result<ExitCode> {
    if args.output.sort_by.is_some() {
        return wrong("a live stream cannot be sorted: use `mtls flows --sort-by`");
    }
    block_on(stream(args, whom))
}

async fn stream(args: &Tap, whom: &Source) -> anyhow::Result<ExitCode> {
    let mut lines = args.select.source(whom)?.tap().await?;
    let code = super::answered(lines.nodes());
    let end = args.duration.map(|wait| Instant::now() + wait);
    let mut printed = Printer {
        args,
        filter: args.select.with(&args.either),
        count: 0,
        classified: std::collections::HashSet::new(),
    };
    if args.output.format == Format::Table && !args.output.no_headers {
        super::print(&(output::tap_header(Screen::of_stdout()) + "\n"))?;
    }
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(code),
            _ = tokio::signal::ctrl_c() => return Ok(code),
        };
        let more = match line {
            TapLine::Missed(missed) => {
                let missed = missed.missed;
                eprintln!("mtls: missed {missed} events: this reader was too slow");
                true
            }
            TapLine::Flow(flow) => printed.flow(&flow)?,
        };
        if !more {
            return Ok(code);
        }
    }
}

struct Printer<'a> {
    args: &'a Tap,
    filter: Filter,
    count: u64,
    /// Flows already printed and still open: their close is not news.
    classified: std::collections::HashSet<Key>,
}

/// A connection of whichever node: numbers are each node's own.
type Key = (Option<SmolStr>, Option<u64>);

/// Its identity where it has one, which both nodes of a connection report.
fn key(flow: &FlowRecord) -> Key {
    match &flow.id {
        Some(id) => (Some(id.clone()), None),
        None => (flow.node.clone(), flow.connection),
    }
}

impl Printer<'_> {
    /// Prints one event; false when that was the last wanted.
    fn flow(&mut self, flow: &Arc<FlowRecord>) -> anyhow::Result<bool> {
        if !self.filter.takes(&**flow, flow.last_seen) {
            return Ok(true);
        }
        let format = &self.args.output.format;
        let for_people = matches!(format, Format::Table | Format::Logfmt);
        // People want each verdict once; programs get every event.
        if for_people {
            match flow.event.as_ref().and_then(Word::known) {
                Some(Event::Updated) => return Ok(true),
                Some(Event::Closed) => {
                    if self.classified.remove(&key(flow)) {
                        return Ok(true);
                    }
                }
                _ => {
                    if self.classified.len() < REMEMBERED {
                        self.classified.insert(key(flow));
                    }
                }
            }
        }
        let text = match format {
            Format::Table => output::tap_line(flow, Style::of_locale(), Screen::of_stdout()) + "\n",
            Format::Logfmt => output::flow_line(flow) + "\n",
            Format::Name => output::flow_name(flow) + "\n",
            Format::Json | Format::Jsonl => output::json(&**flow, false)?,
            format => output::document(&**flow, &[&**flow], format)?,
        };
        super::print(&text)?;
        self.count += 1;
        Ok(self.args.max.is_none_or(|max| self.count < max))
    }
}
