//! `mtls tap`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until};

use super::args::{Format, Tap};
use super::client;
use crate::output;
use mtls_core::record::{Event, Peer, TapLine, Word};

/// Longest line taken from the daemon.
const MAX_LINE: usize = 1 << 20;

pub(super) fn run(args: &Tap) -> anyhow::Result<ExitCode> {
    client::block_on(stream(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn stream(args: &Tap) -> anyhow::Result<()> {
    let mut response = client::open(&args.socket.socket, "/v1/tap").await?;
    let end = args.duration.map(|wait| Instant::now() + wait);
    let mut printed = Printer {
        args,
        count: 0,
        classified: std::collections::HashSet::new(),
    };
    let mut buffer = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = response.frame() => frame,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(frame) = frame else {
            bail!("the daemon stopped");
        };
        // A daemon that is killed breaks the answer off instead of ending it.
        let frame = frame.context("the daemon stopped")?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        buffer.extend_from_slice(data);
        let mut start = 0;
        while let Some(length) = buffer[start..].iter().position(|b| *b == b'\n') {
            if !printed.line(&buffer[start..start + length])? {
                return Ok(());
            }
            start += length + 1;
        }
        buffer.drain(..start);
        if buffer.len() > MAX_LINE {
            bail!("the daemon sent a line longer than 1 MiB");
        }
    }
}

struct Printer<'a> {
    args: &'a Tap,
    count: u64,
    /// Flows already printed and still open: their close is not news.
    classified: std::collections::HashSet<Option<u64>>,
}

impl Printer<'_> {
    /// Prints one event; false when that was the last wanted.
    fn line(&mut self, line: &[u8]) -> anyhow::Result<bool> {
        let parsed = TapLine::read(line).context(
            "the daemon's answer is not understood: is it of the same version as this program?",
        )?;
        let flow = match parsed {
            TapLine::Missed(missed) => {
                let missed = missed.missed;
                eprintln!("mtls: {missed} events were missed, as this reader was too slow");
                return Ok(true);
            }
            TapLine::Flow(flow) => flow,
        };
        let wanted = self.args.namespace.as_deref();
        let within = |peer: &Peer| wanted.is_none() || peer.namespace() == wanted;
        if !within(&flow.src) && !within(&flow.dst) {
            return Ok(true);
        }
        let json = matches!(self.args.output, Format::Json | Format::Jsonl);
        // People want each verdict once; programs get every event.
        if !json {
            match flow.event.as_ref().and_then(Word::known) {
                Some(Event::Updated) => return Ok(true),
                Some(Event::Closed) => {
                    if self.classified.remove(&flow.connection) {
                        return Ok(true);
                    }
                }
                _ => {
                    if self.classified.len() < 65_536 {
                        self.classified.insert(flow.connection);
                    }
                }
            }
        }
        let mut text = if json {
            String::from_utf8_lossy(line).into_owned()
        } else {
            output::flow_line(&flow)
        };
        text.push('\n');
        super::print(&text)?;
        self.count += 1;
        Ok(self.args.max.is_none_or(|max| self.count < max))
    }
}
