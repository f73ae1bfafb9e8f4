//! What can be said on the command line.

mod daemon;
mod help;
mod history;
mod select;
mod time;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub(super) use daemon::{Daemon, Resumptions};
pub(super) use help::{arguments, command, instead};
pub(super) use select::{Output, Select};
pub(super) use time::duration;

use crate::gate::{Report, Require, Version};
use crate::inventory::Policy;
use crate::output::Format;
use crate::select::End;

/// Is the traffic between these pods really mutual TLS?
#[derive(Parser, Debug)]
#[command(
    name = "mtls",
    version,
    after_help = "Exit codes: 0 done, 1 an error, 2 wrong usage, 3 no daemon answers, 4 some nodes did not answer."
)]
pub(super) struct Args {
    /// The daemon's socket.
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "MTLS_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        help = format!("The daemon's socket [default: {}]", mtls_node::daemon::SOCKET)
    )]
    pub(super) socket: Option<PathBuf>,
    #[command(flatten)]
    pub(super) cluster: crate::cluster::Options,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// A gate: fail unless all that was seen is as secure as it has to be.
    Check(Check),
    /// Say what every flow of a capture file is; needs no privileges.
    Classify(Classify),
    /// Watch every pod of this node until stopped.
    Daemon(Box<Daemon>),
    /// Who talks to whom on this node, and how.
    Edges(Edges),
    /// Why an edge or a connection is what it is, and what to do.
    Explain(Explain),
    /// What has changed between two saved answers.
    Diff(Diff),
    /// The connections of the window, one by one.
    #[command(visible_alias = "observe")]
    Flows(Flows),
    /// TLS versions, ciphers, groups and certificates, by workload.
    Inventory(Inventory),
    /// Write samples of connections to a file for Wireshark.
    Record(Record),
    /// A page to hand to an auditor, with the data as CSV and JSON.
    Report(ReportTo),
    /// Flows as they are classified.
    Tap(Tap),
    /// The edges on a live screen, the worst first.
    Top(Top),
    /// The same in a browser: a graph, a table, the tap.
    Ui(Ui),
    /// What the daemon watches, and what it has seen.
    Status(Status),
    /// Whether this node has what the daemon needs.
    Doctor(Doctor),
    /// Which version this program is, and the daemon.
    Version(VersionOf),
    /// Print the completions of a shell, for it to load.
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

#[derive(clap::Args, Debug)]
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
pub(super) struct Edges {
    /// Only with one of these at either end.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// Show exempt traffic too: probes, scrapes, refused ports.
    #[arg(long)]
    pub(super) all: bool,
    /// Show what has changed since this saved answer instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "watch"])]
    pub(super) baseline: Option<PathBuf>,
    /// Go on, and print edges that come or change.
    #[arg(short, long)]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Explain {
    /// The client, and the server with or without its port; or the id of a connection (mtls flows).
    #[arg(required = true, num_args = 1..=2, value_names = ["FROM|ID", "TO[:PORT]"])]
    pub(super) what: Vec<String>,
    /// The namespace of ends that are written without one, and that a cluster is asked about.
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// A saved answer or a capture to read instead of asking the daemon.
    #[arg(long = "from", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// How it is written: `help::forms` has what each verb can.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Diff {
    /// The earlier answer (`mtls edges -o json`), or a capture.
    #[arg(value_name = "BEFORE")]
    pub(super) before: PathBuf,
    /// The later one.
    #[arg(value_name = "AFTER")]
    pub(super) after: PathBuf,
    /// Exit with 1 where an edge is worse, or new and not mutual TLS.
    #[arg(long)]
    pub(super) fail_on_worse: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Flows {
    /// Only with one of these at either end.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Inventory {
    /// Only with one of these at either end.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// Say what is below this policy, by name or in a file.
    ///
    /// modern, intermediate, fips-140-3 or cnsa-2.0.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) policy: Option<Policy>,
    /// Show certificates, the first to expire first.
    #[arg(long, conflicts_with = "policy")]
    pub(super) certificates: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Record {
    /// Only with one of these at either end.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// The pcapng file to write; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(super) write: PathBuf,
    /// Write the payload of what is in clear, too; of TLS, only handshakes are written.
    #[arg(long)]
    pub(super) payload: bool,
    /// Stop after so many connections.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max: u64,
    /// Stop when the file has so many bytes.
    #[arg(long, value_name = "N", default_value_t = 64 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_bytes: u64,
    /// Stop after so long.
    #[arg(long = "for", value_parser = duration, value_name = "TIME", default_value = "60s")]
    pub(super) duration: Duration,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
pub(super) struct Tap {
    /// Only with one of these at either end.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
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
#[command(after_help = CHECK)]
pub(super) struct Check {
    /// mtls, tls, any or deny.
    #[arg(long, value_name = "WHAT", default_value = "mtls")]
    pub(super) require: Require,
    /// The oldest version of TLS that will do: 1.2.
    #[arg(long, value_name = "VERSION")]
    pub(super) min_tls: Option<Version>,
    /// A file of rules: who may talk how.
    ///
    /// The flags say what it leaves open.
    #[arg(long, value_name = "FILE")]
    pub(super) rules: Option<PathBuf>,
    /// A file of exemptions, with reasons and dates.
    #[arg(long, value_name = "FILE")]
    pub(super) allow: Option<PathBuf>,
    /// How many connections have to be seen to pass.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) min_flows: u64,
    /// Wait so long first, and judge what is seen in that time.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(super) wait: Option<Duration>,
    /// Pass although pods were not watched, samples were lost or connections not seen whole.
    #[arg(long)]
    pub(super) accept_partial: bool,
    /// What would STRICT break for the servers of -n?
    ///
    /// Istio's STRICT and Linkerd's all-authenticated: mutual TLS alone.
    #[arg(long, conflicts_with_all = ["require", "min_tls", "rules", "allow"])]
    pub(super) strict_ready: bool,
    #[command(flatten)]
    pub(super) select: Select,
    /// text, json, junit, sarif or github.
    #[arg(
        short,
        long,
        value_enum,
        default_value_t = Report::Text,
        hide_possible_values = true,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub(super) output: Report,
}

const CHECK: &str =
    "Exit codes: 0 pass, 1 a violation, 2 wrong usage, 3 no daemon answers, 4 not enough was seen.";

#[derive(clap::Args, Debug)]
#[command(after_help = "It needs a terminal; ? lists the keys. NO_COLOR turns colours off.")]
pub(super) struct Top {
    /// Only with one of these at either end.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Only this machine can reach the page, and only with the token in its address."
)]
pub(super) struct Ui {
    /// The page's port on 127.0.0.1; 0 is any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) listen: u16,
    /// Print the address and open no browser.
    #[arg(long)]
    pub(super) no_open: bool,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
pub(super) struct ReportTo {
    /// A new directory for report.html, the data, and SHA256SUMS.
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Sign the sums with this secret key of minisign.
    #[arg(long, value_name = "KEY")]
    pub(super) sign: Option<PathBuf>,
    /// The file with the key's password.
    ///
    /// Without it the password of an encrypted key is asked for.
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(super) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// Say nothing unless the daemon does not answer or cannot attach to an interface: for a
    /// readiness probe.
    #[arg(long, conflicts_with_all = ["live", "format"])]
    pub(super) ready: bool,
    /// Say nothing unless the daemon does not answer: for a start-up or liveness probe.
    #[arg(long, conflicts_with = "format")]
    pub(super) live: bool,
    /// How it is written: `help::forms` has what each verb can.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct VersionOf {
    /// How it is written: `help::forms` has what each verb can.
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
    /// How it is written: `help::forms` has what each verb can.
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
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
