//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::{Span, SpanRelativeTo};

/// Is the traffic between these pods really mutual TLS?
#[derive(Parser, Debug)]
#[command(
    name = "mtls",
    version,
    after_help = "Exit codes: 0 done, 1 an error, 2 wrong usage, 3 no daemon answers on the socket."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Say what every flow of a capture file is; needs no privileges.
    Classify(Classify),
    /// Watch every pod of this node until stopped.
    Daemon(Daemon),
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

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}

#[derive(clap::Args, Debug)]
pub(super) struct Classify {
    /// Captures: pcap or pcapng, also gzip or zstd; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// How to write the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) resumptions: Resumptions,
}

/// Where the daemon answers.
#[derive(clap::Args, Debug)]
pub(super) struct Socket {
    /// The daemon's socket.
    #[arg(long, env = "MTLS_SOCKET", default_value = mtls_node::daemon::SOCKET, value_name = "PATH")]
    pub(super) socket: PathBuf,
}

#[derive(clap::Args, Debug)]
pub(super) struct Daemon {
    #[command(flatten)]
    socket: Socket,
    /// Where network namespaces have names (`ip netns`); NAMESPACE.POD names a pod.
    #[arg(long, default_value = "/var/run/netns", value_name = "DIR")]
    netns_dir: PathBuf,
    /// A file of pod names: lines of `ADDRESS[,ADDRESS…] NAMESPACE/NAME [SERVICE-ACCOUNT]`.
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,
    /// A file of exemptions: traffic that is known to be in clear, why, and until when.
    #[arg(long, value_name = "FILE")]
    exemptions: Option<PathBuf>,
    /// The container runtime's socket [default: where containerd, CRI-O and cri-dockerd listen].
    #[arg(long, value_name = "PATH", conflicts_with = "no_cri", value_parser = endpoint)]
    cri_endpoint: Option<PathBuf>,
    /// Don't ask a container runtime for names.
    #[arg(long)]
    no_cri: bool,
    /// Names from the Kubernetes API that this file leads to [default: in a pod, its own cluster's].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// This node, as Kubernetes calls it.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Name the pods of all nodes, which the API server pays for.
    #[arg(long)]
    cluster_names: bool,
    /// A Service whose pods share their nodes' network, as the daemons themselves do: other nodes get
    /// their names by its endpoints.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    nodes_service: Option<String>,
    /// How long a closed connection stays listed (`90s`, `10m`, `2h`).
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    window: Duration,
    /// Only this interface; may be given several times [default: every veth to another namespace but uplinks].
    #[arg(long = "iface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// This interface leads to the network and not to a pod, although it is a veth; may be given
    /// several times, and `none` says that there are none [default: those of the default route].
    #[arg(long = "uplink", value_name = "NAME")]
    uplinks: Vec<String>,
    /// Sample a classified flow again after this time; `0s` is never.
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    recheck_interval: Duration,
    /// Have the kernel program say on stderr when a sample is lost, and why.
    #[arg(long)]
    kernel_log: bool,
    /// Most connections remembered at a time.
    #[arg(long, default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216), value_name = "N")]
    max_flows: u32,
    #[command(flatten)]
    resumptions: Resumptions,
    #[command(flatten)]
    metrics: Metrics,
}

/// Where and how metrics are told.
#[derive(clap::Args, Debug)]
struct Metrics {
    /// Serve metrics for Prometheus here, at `/metrics` (`127.0.0.1:9488`) [default: nowhere].
    #[arg(long = "metrics", value_name = "ADDRESS:PORT")]
    address: Option<std::net::SocketAddr>,
    /// Most edges that get series of their own; the rest is counted under `other`.
    #[arg(long = "metrics-edges", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000), value_name = "N", requires = "address")]
    edges: u32,
    /// Serve them by TLS, with this certificate and its chain (PEM).
    #[arg(long = "metrics-cert", value_name = "FILE", requires_all = ["address", "key"])]
    cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long = "metrics-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Only to whoever shows the token of this file (`Authorization: Bearer`).
    #[arg(long = "metrics-token-file", value_name = "FILE", requires = "address")]
    token: Option<PathBuf>,
}

impl Metrics {
    fn options(self) -> Option<mtls_node::daemon::Metrics> {
        Some(mtls_node::daemon::Metrics {
            address: self.address?,
            edges: self.edges as usize,
            tls: self.cert.zip(self.key),
            token: self.token,
        })
    }
}

/// How TLS 1.3 resumptions are judged.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Resumptions {
    /// Leave TLS 1.3 resumptions unproven: do not give them the verdict of the last full handshake
    /// of the same client and server.
    #[arg(long)]
    no_inherit: bool,
}

impl Resumptions {
    pub(super) fn inherit(self) -> bool {
        !self.no_inherit
    }
}

impl Daemon {
    pub(super) fn options(self) -> mtls_node::daemon::Options {
        mtls_node::daemon::Options {
            socket: self.socket.socket,
            netns_dir: self.netns_dir,
            pods: self.pods,
            exemptions: self.exemptions,
            cri: !self.no_cri,
            cri_endpoint: self.cri_endpoint,
            kubernetes: mtls_node::pods::kubernetes::Options {
                kubeconfig: self.kubeconfig,
                node: self.node_name,
                whole_cluster: self.cluster_names,
                nodes_service: self.nodes_service,
            },
            window: self.window.max(Duration::from_secs(1)),
            interfaces: mtls_node::kernel::Choice {
                watched: self.interfaces,
                // No interface is called so by anybody, and to watch too much is to hide nothing.
                uplinks: (!self.uplinks.is_empty()).then_some(self.uplinks),
            },
            kernel: mtls_node::kernel::Config {
                look_again: self.recheck_interval,
                log: self.kernel_log,
                ..mtls_node::kernel::Config::default()
            },
            limits: mtls_core::flow::Limits {
                flows: self.max_flows as usize,
                inherit: self.resumptions.inherit(),
                ..mtls_core::flow::Limits::default()
            },
            metrics: self.metrics.options(),
        }
    }
}

#[derive(clap::Args, Debug)]
pub(super) struct Edges {
    #[command(flatten)]
    pub(super) socket: Socket,
    /// Only edges from or to this namespace.
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// How to write the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Tap {
    #[command(flatten)]
    pub(super) socket: Socket,
    /// Only flows from or to this namespace.
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Stop after so many flows.
    #[arg(long, value_name = "N")]
    pub(super) max: Option<u64>,
    /// Stop after so long (`10s`).
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub(super) duration: Option<Duration>,
    /// How to write the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Top {
    #[command(flatten)]
    pub(super) socket: Socket,
}

#[derive(clap::Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) socket: Socket,
    /// Say nothing unless the daemon does not answer or cannot attach to an interface: for a
    /// readiness probe.
    #[arg(long, conflicts_with_all = ["live", "output"])]
    pub(super) ready: bool,
    /// Say nothing unless the daemon does not answer: for a start-up or liveness probe.
    #[arg(long, conflicts_with = "output")]
    pub(super) live: bool,
    /// How to write the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Doctor {
    /// How to write the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// A path, or the `unix://` that container tools write before one.
fn endpoint(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err("expected the path of a socket, as in /run/containerd/containerd.sock".into())
    }
}

/// `90s`, `10m`, `1h30m`, `500ms`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_hours(366 * 24);
    let wrong = || "expected a time like 90s, 10m or 2h".to_owned();
    let seconds;
    let text = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        seconds = format!("{text}s");
        &seconds
    } else {
        text
    };
    let span: Span = text.parse().map_err(|_| wrong())?;
    let time = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    if time > MAX {
        return Err("at most a year".into());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        for wrong in [
            "",
            "m",
            "10x",
            "-1s",
            "99999999999h",
            "18446744073709551616",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
