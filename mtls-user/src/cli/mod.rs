//! The command line. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 no daemon to ask, 4 some of
//! the nodes did not answer.

mod args;
mod check;
mod classify;
mod diff;
mod doctor;
mod edges;
mod explain;
mod flows;
mod inventory;
mod pages;
mod record;
mod report;
mod status;
mod tap;
mod top;
mod ui;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::FromArgMatches;

use smol_str::SmolStr;

use crate::cluster::Namespace;
use crate::select::{Filter, Subject};
use crate::source::{NoDaemon, Source};
use crate::usage::{self, Usage};
use args::{Args, Verb};
use mtls_core::record::{List, Nodes, Time};

/// What clap exits with, too.
const WRONG_USAGE: u8 = 2;
/// No daemon could be asked.
const NO_DAEMON: u8 = 3;
/// Not every node answered.
const PARTIAL: u8 = 4;
/// The name that kubectl looks for when it is called as `kubectl mtls`.
const PLUGIN: &str = "kubectl-mtls";

/// Runs the program with this process's arguments.
pub(crate) fn main() -> ExitCode {
    let words = args::arguments(std::env::args_os());
    let plugin = words.first().is_some_and(is_plugin);
    let mut command = args::command();
    if plugin {
        command = command.name(PLUGIN).bin_name("kubectl mtls");
    }
    let args = command.try_get_matches_from(words).unwrap_or_else(|error| {
        if let Some((word, here)) = args::instead(&error) {
            eprintln!("mtls: there is no `mtls {word}`: use {here}");
            std::process::exit(WRONG_USAGE.into());
        }
        error.exit()
    });
    let args = Args::from_arg_matches(&args).unwrap_or_else(|error| error.exit());
    match run(args, plugin) {
        Ok(code) => code,
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mtls: {}", crate::output::safe(&format!("{error:#}")));
            if error.is::<NoDaemon>() || error.is::<crate::cluster::NoAnswer>() {
                ExitCode::from(NO_DAEMON)
            } else if error.is::<Usage>() {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn is_plugin(name: &std::ffi::OsString) -> bool {
    std::path::Path::new(name).file_name() == Some(PLUGIN.as_ref())
}

/// Says which nodes answered, where all were asked; the exit code tells whether all did.
fn answered(nodes: Option<&Nodes>) -> ExitCode {
    let Some(nodes) = nodes else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{}", crate::cluster::line(nodes));
    if nodes.all() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(PARTIAL)
    }
}

fn run(args: Args, plugin: bool) -> anyhow::Result<ExitCode> {
    let by_environment = args.socket.as_deref().map(std::path::Path::as_os_str)
        == std::env::var_os("MTLS_SOCKET").as_deref();
    let named = args.socket.is_some() && !by_environment;
    // A daemon has a socket and asks an API server.
    let asks_cluster = args.cluster.is_asked_for() && !matches!(args.verb, Verb::Daemon(_));
    if named && asks_cluster {
        return usage::wrong(
            "--socket is a daemon of this node, and -l, --context and similar options query a cluster: \
             leave out one of them",
        );
    }
    // A socket in the environment is only a default.
    let in_cluster = !named && (plugin || asks_cluster);
    let socket = args.socket;
    let socket = socket.unwrap_or_else(|| mtls_node::daemon::SOCKET.into());
    let whom = if in_cluster {
        Source::Cluster(args.cluster.into(), Namespace::OfContext)
    } else {
        Source::Node(socket.clone())
    };
    match args.verb {
        Verb::Check(args) => check::run(&args, &whom),
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
        Verb::Edges(args) => edges::run(&args, &whom),
        Verb::Explain(args) => explain::run(&args, &whom),
        Verb::Diff(args) => diff::run(&args),
        Verb::Flows(args) => flows::run(&args, &whom),
        Verb::Inventory(args) => inventory::run(&args, &whom),
        Verb::Record(args) => record::run(&args, &whom),
        Verb::Report(args) => report::run(&args, &whom),
        Verb::Tap(args) => tap::run(&args, &whom),
        Verb::Top(args) => top::run(&args, &whom),
        Verb::Ui(args) => ui::run(&args, &whom),
        Verb::Status(args) => status::run(&args, &whom),
        Verb::Doctor(args) => doctor::run(&args, &whom),
        Verb::Version(args) => version::run(&args, &whom),
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

/// Applies a filter; says on stderr why nothing is left, if so.
fn filter<T: Subject>(filter: &Filter, items: &mut Vec<T>, generated: Time, noun: &str) {
    if !items.iter().any(|item| filter.takes(item, generated))
        && let Some(text) = filter.nothing_left(items, noun)
    {
        eprintln!("mtls: {}", crate::output::safe_long(&text));
    }
    filter.apply(items, generated);
}

/// Rows in the envelope of a list that is made now.
fn list<T>(node: Option<SmolStr>, rows: &[T]) -> List<&T> {
    let generated = Time::from_nanos(mtls_node::clock::now());
    List::new(node, generated, rows.iter().collect())
}

/// Prints text; unlike `print!`, a closed pipe is an error to be handled.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
