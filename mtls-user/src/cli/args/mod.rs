//! The command line.

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
use time::{count, port, positive};

use crate::gate::{Report, Require, Version};
use crate::inventory::Policy;
use crate::output::Format;
use crate::select::End;

/// Is the traffic between these pods really mutual TLS?
#[derive(Parser, Debug)]
#[command(
    name = "mtls",
    version,
    after_help = "Exit codes: 0 success, 1 error, 2 wrong usage, 3 no daemon answers, 4 some nodes did not answer."
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
    /// Who connects to whom, and how it is secured.
    Edges(Edges),
    /// The recent connections, one by one.
    #[command(visible_alias = "observe")]
    Flows(Flows),
    /// Show connections live, as they are classified.
    Tap(Tap),
    /// Why an edge or a connection has its verdict, and what to do.
    Explain(Explain),
    /// Check edges against rules, for pipelines: fails on a violation.
    Check(Check),
    /// TLS versions, cipher suites, groups and certificates per workload.
    Inventory(Inventory),
    /// Write a report for an auditor: an HTML page, CSV and JSON.
    Report(ReportTo),
    /// Compare two saved answers.
    Diff(Diff),
    /// Record connections for Wireshark.
    Record(Record),
    /// The edges on a live screen.
    Top(Top),
    /// The edges in the browser: a graph, a table, live connections.
    Ui(Ui),
    /// Classify the connections of a capture file; needs no privileges.
    Classify(Classify),
    /// Watch the pods of this node, until stopped.
    Daemon(Box<Daemon>),
    /// What the daemon watches, what it does not, and what it costs.
    Status(Status),
    /// Check whether the daemon can run on this node.
    Doctor(Doctor),
    /// The versions of this program and of the daemon.
    Version(VersionOf),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    #[command(hide = true)]
    Man {
        /// The directory.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct Classify {
    /// Capture files (pcap, pcapng or snoop, also gzip or zstd); `-` is standard input.
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
    /// Only if the client or the server is one of these.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// Also show exempt traffic: probes, scrapes, DNS and the like.
    #[arg(long)]
    pub(super) all: bool,
    /// Show what has changed since this saved answer (`-o json`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "watch"])]
    pub(super) baseline: Option<PathBuf>,
    /// Keep running, and print edges that are new or change.
    #[arg(short, long)]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Explain {
    /// Client and server, as `mtls edges` shows them; or the ID of a connection (`mtls flows -o wide`).
    #[arg(required = true, num_args = 1..=2, value_names = ["FROM|ID", "TO[:PORT]"])]
    pub(super) what: Vec<String>,
    /// The namespace of FROM and TO, if they are written without one.
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Read a saved answer or a capture instead of querying the daemon.
    #[arg(long = "from", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The output format; `help::forms` has those of each verb.
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
    /// Exit with 1 if an edge is worse, or new and not mutual TLS.
    #[arg(long)]
    pub(super) fail_on_worse: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Flows {
    /// Only if the client or the server is one of these.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Inventory {
    /// Only if the client or the server is one of these.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// List what violates this policy.
    ///
    /// modern, intermediate, fips-140-3 or cnsa-2.0, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) policy: Option<Policy>,
    /// List the certificates, the first to expire first.
    #[arg(long, conflicts_with = "policy")]
    pub(super) certificates: bool,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
pub(super) struct Record {
    /// Only if the client or the server is one of these.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// The pcapng file to write; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(super) write: PathBuf,
    /// Include the payload of plaintext; of TLS, only handshakes are ever written.
    #[arg(long)]
    pub(super) payload: bool,
    /// Stop after this many connections.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = count)]
    pub(super) max: u64,
    /// Stop when the file has this many bytes.
    #[arg(long, value_name = "N", default_value_t = 64 << 20, value_parser = count)]
    pub(super) max_bytes: u64,
    /// Stop after this time.
    #[arg(long = "for", value_parser = positive, value_name = "TIME", default_value = "60s")]
    pub(super) duration: Duration,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
pub(super) struct Tap {
    /// Only if the client or the server is one of these.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    /// Stop after this many connections.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(super) max: Option<u64>,
    /// Stop after this time (`10s`).
    #[arg(long = "for", value_parser = positive, value_name = "TIME")]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) select: Select,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(clap::Args, Debug)]
#[command(after_help = CHECK)]
pub(super) struct Check {
    /// Required: mtls, tls, any or deny.
    #[arg(long, value_name = "WHAT", default_value = "mtls")]
    pub(super) require: Require,
    /// The oldest TLS version allowed: 1.2.
    #[arg(long, value_name = "VERSION")]
    pub(super) min_tls: Option<Version>,
    /// A file with rules for clients and servers.
    ///
    /// The other options apply where it does not decide.
    #[arg(long, value_name = "FILE")]
    pub(super) rules: Option<PathBuf>,
    /// A file with exemptions, their reasons and dates.
    #[arg(long, value_name = "FILE")]
    pub(super) allow: Option<PathBuf>,
    /// The least number of connections for a pass.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub(super) min_flows: u64,
    /// Wait this long, and check only what is seen during that time.
    #[arg(long = "for", value_name = "TIME", value_parser = positive)]
    pub(super) wait: Option<Duration>,
    /// Allow a pass although pods were not watched, samples were lost, or connections were not seen
    /// completely.
    #[arg(long)]
    pub(super) accept_partial: bool,
    /// What would break if only mutual TLS were accepted.
    ///
    /// That is: if the servers of -n accepted nothing else, as with Istio's STRICT or Linkerd's
    /// all-authenticated.
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

const CHECK: &str = "Exit codes: 0 pass, 1 violation (or error), 2 wrong usage, 3 no daemon answers, 4 not enough was seen for a pass.";

#[derive(clap::Args, Debug)]
#[command(after_help = "Needs a terminal. Press ? for a list of keys. NO_COLOR turns colours off.")]
pub(super) struct Top {
    /// Only if the client or the server is one of these.
    #[arg(value_name = "END")]
    pub(super) either: Vec<End>,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "The page can be opened only on this machine, and only with the token in its address."
)]
pub(super) struct Ui {
    /// The page's port on 127.0.0.1; 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, value_parser = port)]
    pub(super) listen: u16,
    /// Print the address, but do not open a browser.
    #[arg(long)]
    pub(super) no_open: bool,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
pub(super) struct ReportTo {
    /// The directory to create, for report.html, the data and SHA256SUMS.
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Sign the checksums with this minisign secret key.
    #[arg(long, value_name = "KEY")]
    pub(super) sign: Option<PathBuf>,
    /// A file with the key's password.
    ///
    /// Without it, mtls asks for the password of an encrypted key.
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(super) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) select: Select,
}

#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// Readiness probe: prints nothing; fails if the daemon does not answer or could not attach to
    /// an interface.
    #[arg(long, conflicts_with_all = ["live", "format"])]
    pub(super) ready: bool,
    /// Liveness probe: prints nothing; fails if the daemon does not answer.
    #[arg(long, conflicts_with = "format")]
    pub(super) live: bool,
    /// The output format; `help::forms` has those of each verb.
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
    /// The output format; `help::forms` has those of each verb.
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
    /// The output format; `help::forms` has those of each verb.
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
