//! `mtls record`.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use mtls_core::capture::Decoded;
use mtls_core::flow::Limits as Engine;
use mtls_core::record::{Recorded, Sample};
use tokio::time::{Instant, sleep_until};

use super::args::Record;
use crate::recording::{Limits, Recorder, Summary};
use crate::source::capture::{self, Unread};
use crate::source::{Source, block_on};

pub(super) fn run(args: &Record, whom: &Source) -> anyhow::Result<ExitCode> {
    let source = args.select.source(whom)?;
    let summary = match &source {
        Source::File(path) => {
            let recorder = recorder(args)?;
            of_capture(path, recorder)?
        }
        source => block_on(live(args, source))?,
    };
    say(summary);
    Ok(ExitCode::SUCCESS)
}

type Out = BufWriter<Box<dyn Write>>;

fn recorder(args: &Record) -> anyhow::Result<Recorder<Out>> {
    let shown = args.write.display();
    let out: Box<dyn Write> = if args.write == Path::new("-") {
        let out = io::stdout();
        ensure!(
            !out.is_terminal(),
            "a capture is not for a terminal: name a file with -w, or pipe it into a program"
        );
        Box::new(out)
    } else {
        // There is in it what was on the wire: for its owner alone.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        Box::new(
            options
                .open(&args.write)
                .with_context(|| format!("write {shown}"))?,
        )
    };
    let limits = Limits {
        flows: args.max,
        bytes: args.max_bytes,
        payload: args.payload,
    };
    let filter = args.select.with(&args.either);
    Recorder::new(BufWriter::new(out), filter, limits).with_context(|| format!("write {shown}"))
}

async fn live(args: &Record, source: &Source) -> anyhow::Result<Summary> {
    // A daemon that does not answer leaves no empty file.
    let mut lines = source.recording().await?;
    let mut recorder = recorder(args)?;
    let end = Instant::now() + args.duration;
    loop {
        let line = tokio::select! {
            line = lines.recorded() => line?,
            () = sleep_until(end) => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        match line {
            Recorded::Sample(sample) => recorder.sample(std::sync::Arc::unwrap_or_clone(sample)),
            Recorded::Flow(flow) => {
                if !recorder.flow(&flow)? {
                    break;
                }
            }
            Recorded::Missed(n) => {
                eprintln!("mtls: {n} samples and events were missed, as this reader was too slow");
            }
        }
    }
    Ok(recorder.finish()?)
}

fn of_capture(path: &Path, recorder: Recorder<Out>) -> anyhow::Result<Summary> {
    let mut unread = Unread::default();
    let recorder = RefCell::new(recorder);
    let mut more = Ok(true);
    let whole = capture::classify_and(
        path,
        Engine::default().inherit,
        &mut unread,
        |decoded| {
            let sample = match decoded {
                Decoded::Segment(segment) => Sample::from(segment),
                Decoded::Datagram(datagram) => Sample::from(datagram),
            };
            recorder.borrow_mut().sample(sample);
        },
        |mut flow| {
            if matches!(more, Ok(true)) {
                mtls_node::pods::name_flow(&mtls_node::pods::Directory::new(), &mut flow);
                more = recorder.borrow_mut().flow(&flow);
            }
        },
    )?;
    more?;
    unread.say();
    ensure!(whole, "{} breaks off", path.display());
    Ok(recorder.into_inner().finish()?)
}

/// On stderr, as standard output may be the file.
fn say(summary: Summary) {
    let Summary {
        flows,
        packets,
        bytes,
        without_samples,
        left_out,
    } = summary;
    eprintln!("{flows} connections, {packets} packets, {bytes} bytes");
    if without_samples > 0 {
        eprintln!("{without_samples} connections had no samples in this time, and are not in it");
    }
    if left_out > 0 {
        eprintln!("mtls: {left_out} samples were left out, as there were too many to hold");
    }
}
