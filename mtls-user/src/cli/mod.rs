//! The command line. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 no daemon to ask.

mod args;
mod classify;
mod client;
mod doctor;
mod edges;
mod pages;
mod status;
mod tap;
mod top;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use smol_str::SmolStr;

use args::{Args, Verb};
use mtls_core::record::{List, Time};

/// No daemon could be asked.
const NO_DAEMON: u8 = 3;

/// Why a verb failed, where the exit code depends on it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Nobody answers on the socket.
    #[error("{0}")]
    NoDaemon(String),
}

/// Runs the program with this process's arguments.
pub(crate) fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mtls: {}", crate::output::safe(&format!("{error:#}")));
            match error.downcast_ref() {
                Some(Failure::NoDaemon(_)) => ExitCode::from(NO_DAEMON),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Classify(args) => classify::run(&args),
        Verb::Daemon(args) => {
            tracing_subscriber::fmt()
                .with_writer(io::stderr)
                .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
                .with_env_filter(
                    tracing_subscriber::EnvFilter::try_from_env("MTLS_LOG")
                        // What the client of the Kubernetes API meets, `mtls status` tells.
                        .unwrap_or_else(|_| "warn,kube_client=off".into()),
                )
                .init();
            mtls_node::daemon::run(args.options())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Edges(args) => edges::run(&args),
        Verb::Tap(args) => tap::run(&args),
        Verb::Top(args) => top::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Completion { shell } => pages::completion(shell),
        Verb::Man { dir } => pages::man(&dir),
    }
}

/// Whoever read our output has seen enough (`mtls tap | head`).
fn broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints rows as one JSON document.
fn print_json_list<T: serde::Serialize>(node: Option<SmolStr>, rows: &[T]) -> anyhow::Result<()> {
    let generated = Time::from_nanos(mtls_node::clock::now());
    let list = List::new(node, generated, rows.iter().collect());
    print_json_one(&list, true)
}

/// Prints rows as one JSON object a line.
fn print_json_lines<T: serde::Serialize>(rows: &[T]) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for row in rows {
        serde_json::to_writer(&mut out, row).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Prints one object as JSON.
fn print_json_one<T: serde::Serialize>(value: &T, pretty: bool) -> anyhow::Result<()> {
    let mut text = if pretty {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    text.push('\n');
    print(&text)
}

/// Prints text; unlike `print!`, a closed pipe is an error to be handled.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
