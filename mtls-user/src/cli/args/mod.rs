//! What can be said on the command line.

mod daemon;
mod select;
mod time;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub(super) use daemon::{Daemon, Resumptions};
pub(super) use select::{Output, Select, joined};
pub(super) use time::duration;

use crate::output::Format;

/// Is the traffic between these pods really mutual TLS?
#[derive(Parser, Debug)]
#[command(
    name = "mtls",
    version,
    after_help = "Exit codes: 0 done, 1 an error, 2 wrong usage, 3 no daemon answers on the socket."
)]
pub(super) struct Args {
    /// The daemon's socket.
    #[arg(
        long,
        global = true,
        env = "MTLS_SOCKET",
        hide_env_values = true,
        default_value = mtls_node::daemon::SOCKET,
        value_name = "PATH"
    )]
    pub(super) socket: PathBuf,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Say what every flow of a capture file is; needs no privileges.
    Classify(Classify),
    /// Watch every pod of this node until stopped.
    Daemon(Box<Daemon>),
    /// Who talks to whom on this node, and how.
    Edges(Edges),
    /// Flows as they are classified.
    Tap(Tap),
    /// The edges on a live screen, the worst first.
    Top(Top),
    /// What the daemon watches, and what it has seen.
    Status(Status),
    /// Whether this node has what the daemon needs.
    Doctor(Doctor),
    /// Print the completions of a shell, for it to load.
    #[command(hide = true)]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages into a directory.
    #[command(hide = true)]
    Man {
        /// The directory.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// How an end is written, for the help of the verbs that take filters.
const END: &str = "END is deploy/web, pod/x, svc/x, ns/shop, shop/web, web, an address, a CIDR, node, external or unknown.";

#[derive(clap::Args, Debug)]
#[command(after_help = END)]
pub(super) struct Classify {
    /// Captures: pcap or pcapng, also gzip or zstd; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) resumptions: Resumptions,
}

#[derive(clap::Args, Debug)]
#[command(after_help = END)]
pub(super) struct Edges {
    /// Show exempt traffic too: probes, scrapes, refused ports, connections without data.
    #[arg(long)]
    pub(super) all: bool,
    /// Go on, and print edges that come or change.
    #[arg(short, long)]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
#[command(after_help = END)]
pub(super) struct Tap {
    /// Stop after so many flows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max: Option<u64>,
    /// Stop after so long (`10s`).
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Top {}

#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// Say nothing unless the daemon does not answer or cannot attach to an interface: for a
    /// readiness probe.
    #[arg(long, conflicts_with_all = ["live", "format"])]
    pub(super) ready: bool,
    /// Say nothing unless the daemon does not answer: for a start-up or liveness probe.
    #[arg(long, conflicts_with = "format")]
    pub(super) live: bool,
    /// How to write the result: table, json, jsonl, yaml, jsonpath=….
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Doctor {
    /// How to write the result: table, json, jsonl, yaml, jsonpath=….
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
