//! `mtls record`.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use mtls_core::capture::Decoded;
use mtls_core::flow::Limits as Engine;
use mtls_core::record::{Recorded, Sample};
use tokio::time::{Instant, sleep_until};

use super::args::Record;
use crate::output::count;
use crate::recording::{Limits, Recorder, Summary};
use crate::source::capture::{self, Unread};
use crate::source::{Source, block_on};
use crate::usage::wrong;

pub(super) fn run(args: &Record, whom: &Source) -> anyhow::Result<ExitCode> {
    let source = args.select.source(whom)?;
    let summary = match &source {
        Source::File(path) => {
            if is_same(path, &args.write) {
                let shown = args.write.display();
                return wrong(format!(
                    "{shown} is the capture that is read: write to another file"
                ));
            }
            replace(&args.write, |to| of_capture(path, recorder(args, to)?))?
        }
        source => block_on(live(args, source))?,
    };
    say(summary);
    Ok(ExitCode::SUCCESS)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| std::fs::metadata(path).map(|about| (about.dev(), about.ino()));
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}

type Out = BufWriter<Box<dyn Write>>;

/// Has a file made beside `target`, which takes its place when it is whole: what is there already is not
/// lost to a capture that cannot be read. A pipe, a device and standard output are written as they are.
fn replace<T>(target: &Path, make: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let is_plain = std::fs::symlink_metadata(target).map_or(true, |about| about.is_file());
    let Some(name) = target
        .file_name()
        .filter(|_| is_plain && target != Path::new("-"))
    else {
        return make(target);
    };
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", std::process::id()));
    let beside = target.with_file_name(beside);
    let made = make(&beside).and_then(|made| {
        let shown = target.display();
        std::fs::rename(&beside, target).with_context(|| format!("write {shown}"))?;
        Ok(made)
    });
    if made.is_err() {
        // There may be none yet.
        let _ = std::fs::remove_file(&beside);
    }
    made
}

/// A recorder into the file `to`: the one that was asked for, or one that will take its place.
fn recorder(args: &Record, to: &Path) -> anyhow::Result<Recorder<Out>> {
    let shown = args.write.display();
    let out: Box<dyn Write> = if to == Path::new("-") {
        let out = io::stdout();
        if out.is_terminal() {
            return wrong(
                "a capture cannot be shown on a terminal: name a file with -w, or pipe it into a program",
            );
        }
        Box::new(out)
    } else {
        // There is in it what was on the wire: for its owner alone.
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if to == args.write {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let file = options.open(to).with_context(|| format!("write {shown}"))?;
        if file.metadata().is_ok_and(|about| about.is_file()) {
            // Also where it was there before.
            file.set_permissions(Permissions::from_mode(0o600))
                .with_context(|| format!("make {shown} its owner's alone"))?;
        }
        Box::new(file)
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
    let mut recorder = recorder(args, &args.write)?;
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
                eprintln!("mtls: missed {n} samples and events: this reader was too slow");
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
    ensure!(whole, "{} is damaged or cut off", path.display());
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
    eprintln!(
        "{}, {}, {}",
        count(flows, "connection"),
        count(packets, "packet"),
        count(bytes, "byte")
    );
    if without_samples > 0 {
        eprintln!(
            "{} left out: no samples during the recording",
            count(without_samples, "connection")
        );
    }
    if left_out > 0 {
        eprintln!(
            "mtls: {} left out: too many to hold",
            count(left_out, "sample")
        );
    }
}
