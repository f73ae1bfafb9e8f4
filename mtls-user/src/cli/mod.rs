//! The command line. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 no daemon to ask.

mod args;
mod check;
mod classify;
mod diff;
mod doctor;
mod edges;
mod explain;
mod flows;
mod pages;
mod status;
mod tap;
mod top;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use smol_str::SmolStr;

use crate::source::NoDaemon;
use args::{Args, Verb};
use mtls_core::record::{List, Time};

/// What clap exits with, too.
const WRONG_USAGE: u8 = 2;
/// No daemon could be asked.
const NO_DAEMON: u8 = 3;

/// The command line cannot be meant so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the program with this process's arguments.
pub(crate) fn main() -> ExitCode {
    match run(Args::parse_from(args::joined(std::env::args_os()))) {
        Ok(code) => code,
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mtls: {}", crate::output::safe(&format!("{error:#}")));
            if error.is::<NoDaemon>() {
                ExitCode::from(NO_DAEMON)
            } else if error.is::<Usage>() {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let socket = args.socket;
    match args.verb {
        Verb::Check(args) => check::run(&args, &socket),
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
            mtls_node::daemon::run(args.options(socket))?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Edges(args) => edges::run(&args, &socket),
        Verb::Explain(args) => explain::run(&args, &socket),
        Verb::Diff(args) => diff::run(&args),
        Verb::Flows(args) => flows::run(&args, &socket),
        Verb::Tap(args) => tap::run(&args, &socket),
        Verb::Top(args) => top::run(&args, &socket),
        Verb::Status(args) => status::run(&args, &socket),
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

/// Rows in the envelope of a list that is made now.
fn list<T>(node: Option<SmolStr>, rows: &[T]) -> List<&T> {
    let generated = Time::from_nanos(mtls_node::clock::now());
    List::new(node, generated, rows.iter().collect())
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
