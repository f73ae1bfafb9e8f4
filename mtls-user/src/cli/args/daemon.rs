//! The command line of `mtls daemon`.

use std::path::PathBuf;
use std::time::Duration;

use super::time::{duration, seconds};

/// Bytes that undecided flows may hold, for each flow that is remembered at most.
const UNDECIDED: usize = 128;

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Daemon {
    /// The directory of named network namespaces (`ip netns`); NAMESPACE.POD names a pod
    /// [default: /var/run/netns, if it exists].
    #[arg(long, value_name = "DIR")]
    netns_dir: Option<PathBuf>,
    /// A file with pod names: lines of `ADDRESS[,ADDRESS...] NAMESPACE/NAME [SERVICE-ACCOUNT]`.
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,
    /// A file with exemptions: known plaintext, with reasons and dates.
    #[arg(long, value_name = "FILE")]
    exemptions: Option<PathBuf>,
    /// Treat plaintext DNS as plaintext; by default, it is exempt.
    #[arg(long)]
    judge_dns: bool,
    /// The container runtime's socket [default: where containerd, CRI-O and cri-dockerd listen].
    #[arg(long, value_name = "PATH", conflicts_with = "no_cri", value_parser = endpoint)]
    cri_endpoint: Option<PathBuf>,
    /// Do not query a container runtime for names.
    #[arg(long)]
    no_cri: bool,
    /// Query the Kubernetes API of this file for names [default: in a pod, its own cluster].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// This node's name in Kubernetes.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Watch the pods of all nodes, to name peers on other nodes: more load on the API server.
    #[arg(long)]
    cluster_names: bool,
    /// A Service of host-network pods on every node, such as the daemons' own: its endpoints give
    /// names to the other nodes' addresses.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    nodes_service: Option<String>,
    /// Do not read mesh policies from the Kubernetes API (Istio's PeerAuthentication; Linkerd's
    /// Server, ServerAuthorization and AuthorizationPolicy), which say what is expected.
    #[arg(long)]
    no_mesh_policies: bool,
    /// Answer queries of `kubectl mtls` on this loopback address (`127.0.0.1:9847`). The Kubernetes
    /// API decides who may see what.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    api: Option<std::net::SocketAddr>,
    /// How long closed connections count and stay listed (`90s`, `10m`, `2h`).
    #[arg(long, default_value = "10m", value_parser = seconds, value_name = "TIME")]
    window: Duration,
    /// How many connections `mtls flows` keeps, about 2 KB each; 0: none.
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(0..=1_000_000), value_name = "N")]
    history: u32,
    /// Watch only this interface; repeatable [default: every veth to another namespace, except uplinks].
    #[arg(long = "iface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// Do not watch this veth, because it leads to the network and not to a pod; repeatable; `none`
    /// for no such veth [default: those of the default route].
    #[arg(long = "uplink", value_name = "NAME")]
    uplinks: Vec<String>,
    /// Sample each classified connection again after this time; `0s`: never.
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    recheck_interval: Duration,
    /// A UDP flow ends after this time without a datagram; if the kernel no longer samples it, this
    /// long after the next recheck.
    #[arg(long, default_value = "30s", value_parser = seconds, value_name = "TIME")]
    datagram_timeout: Duration,
    /// Log each lost sample and its cause to stderr, from the kernel program.
    #[arg(long)]
    kernel_log: bool,
    /// The most connections tracked at a time. Connections that are not classified yet may together take
    /// 128 bytes for each of these; beyond that, the oldest that nobody has answered are evicted.
    #[arg(long, default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216), value_name = "N")]
    max_flows: u32,
    #[command(flatten)]
    resumptions: Resumptions,
    #[command(flatten)]
    metrics: Metrics,
    #[command(flatten)]
    export: Export,
    #[command(flatten)]
    witness: Witness,
}

/// Export to other systems.
#[derive(clap::Args, Debug)]
struct Export {
    /// Send records to this OpenTelemetry Collector (`http://collector:4317`): new edges, changes,
    /// downgrades, identity mismatches, and summaries of all edges.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// The protocol for the Collector.
    #[arg(
        long,
        value_enum,
        default_value = "grpc",
        value_name = "PROTOCOL",
        requires = "otlp"
    )]
    otlp_protocol: Protocol,
    /// Send this header to the Collector (`Authorization: Bearer TOKEN`); repeatable.
    #[arg(long = "otlp-header", value_name = "NAME: VALUE", requires = "otlp")]
    otlp_headers: Vec<String>,
    /// Also send metrics to the Collector.
    #[arg(long, requires = "otlp")]
    otlp_metrics: bool,
    /// Write the same records to this file, one JSON object per line; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// The interval of the summaries and metrics.
    #[arg(long, default_value = "60s", value_parser = seconds, value_name = "TIME")]
    otlp_interval: Duration,
    /// The most records that wait for the Collector or the file; beyond that, the oldest are dropped and counted.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "N")]
    otlp_queue: u32,
    /// The cluster's name, added to records and metrics.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// The protocol for the Collector.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

impl Export {
    fn options(self) -> mtls_node::daemon::Export {
        mtls_node::daemon::Export {
            url: self.otlp,
            protocol: match self.otlp_protocol {
                Protocol::Grpc => mtls_node::otlp::Protocol::Grpc,
                Protocol::Http => mtls_node::otlp::Protocol::Http,
            },
            headers: self.otlp_headers,
            metrics: self.otlp_metrics,
            lines: self.events,
            interval: self.otlp_interval,
            queue: self.otlp_queue as usize,
            cluster: self.cluster,
        }
    }
}

/// What is written to the Kubernetes API.
#[derive(clap::Args, Debug)]
struct Witness {
    /// Create a Kubernetes Event on a pod of this node when one of its edges is downgraded, and at the
    /// first plaintext where mutual TLS is expected.
    #[arg(long)]
    kubernetes_events: bool,
    /// Write a policy report for each pod of this node, with a result for each of its edges.
    #[arg(long, value_enum, value_name = "API")]
    policy_reports: Option<Reports>,
    /// How often the policy reports are updated.
    #[arg(long, default_value = "60s", value_parser = seconds, value_name = "TIME")]
    policy_reports_interval: Duration,
}

/// An API of policy reports.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Reports {
    /// `openreports.io/v1alpha1`.
    Openreports,
    /// `wgpolicyk8s.io/v1alpha2`.
    Wgpolicy,
}

impl Witness {
    fn options(&self) -> mtls_node::daemon::Witness {
        use mtls_node::evidence::Flavour;
        mtls_node::daemon::Witness {
            events: self.kubernetes_events,
            reports: self.policy_reports.map(|reports| match reports {
                Reports::Openreports => Flavour::OpenReports,
                Reports::Wgpolicy => Flavour::WgPolicy,
            }),
            interval: self.policy_reports_interval,
        }
    }
}

/// Where and how metrics are reported.
#[derive(clap::Args, Debug)]
struct Metrics {
    /// Serve metrics for Prometheus at this address, under `/metrics` (`127.0.0.1:9488`) [default: off].
    #[arg(long = "metrics", value_name = "ADDRESS:PORT")]
    address: Option<std::net::SocketAddr>,
    /// The most edges with their own series; the rest is counted under `other`.
    #[arg(long = "metrics-edges", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000), value_name = "N")]
    edges: u32,
    /// Serve the metrics over TLS, with this certificate and its chain (PEM).
    #[arg(long = "metrics-cert", value_name = "FILE", requires_all = ["address", "key"])]
    cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long = "metrics-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Require the bearer token of this file to read the metrics.
    #[arg(long = "metrics-token-file", value_name = "FILE", requires = "address")]
    token: Option<PathBuf>,
}

impl Metrics {
    fn options(self) -> Option<mtls_node::daemon::Metrics> {
        Some(mtls_node::daemon::Metrics {
            address: self.address?,
            tls: self.cert.zip(self.key),
            token: self.token,
        })
    }
}

/// How TLS 1.3 resumptions are judged.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(in crate::cli) struct Resumptions {
    /// Report resumed TLS 1.3 sessions as tls-unproven, instead of giving them the verdict of the
    /// last full handshake between the same client and server.
    #[arg(long)]
    no_inherit: bool,
}

impl Resumptions {
    pub(in crate::cli) fn inherit(self) -> bool {
        !self.no_inherit
    }
}

impl Daemon {
    pub(in crate::cli) fn options(self, socket: PathBuf) -> mtls_node::daemon::Options {
        mtls_node::daemon::Options {
            socket,
            netns_dir: self.netns_dir,
            pods: self.pods,
            exemptions: self.exemptions,
            judge_dns: self.judge_dns,
            cri: !self.no_cri,
            cri_endpoint: self.cri_endpoint,
            kubernetes: mtls_node::pods::kubernetes::Options {
                kubeconfig: self.kubeconfig,
                node: self.node_name,
                whole_cluster: self.cluster_names,
                nodes_service: self.nodes_service,
                policies: !self.no_mesh_policies,
            },
            api: self.api,
            window: self.window,
            history: self.history as usize,
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
                undecided: self.max_flows as usize * UNDECIDED,
                idle_datagrams: self.datagram_timeout,
                recheck: self.recheck_interval,
                inherit: self.resumptions.inherit(),
                ..mtls_core::flow::Limits::default()
            },
            metrics_edges: self.metrics.edges as usize,
            metrics: self.metrics.options(),
            export: self.export.options(),
            witness: self.witness.options(),
        }
    }
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

/// What is sent in clear, a token among it, leaves the node by no other interface.
fn loopback(text: &str) -> Result<std::net::SocketAddr, String> {
    let address: std::net::SocketAddr = text.parse().map_err(|_| "expected ADDRESS:PORT")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("expected an address of the loopback interface, as in 127.0.0.1:9847".into())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_api_is_on_the_loopback_interface_alone() {
        assert!(super::loopback("127.0.0.1:9847").is_ok());
        assert!(super::loopback("[::1]:9847").is_ok());
        for wrong in [
            "0.0.0.0:9847",
            "[::]:9847",
            "10.0.0.1:9847",
            "localhost:9847",
            "9847",
            "",
        ] {
            assert!(super::loopback(wrong).is_err(), "{wrong}");
        }
    }
}
