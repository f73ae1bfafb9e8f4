//! The command line of `mtls daemon`.

use std::path::PathBuf;
use std::time::Duration;

use super::time::duration;

/// Bytes that undecided flows may hold, for each flow that is remembered at most.
const UNDECIDED: usize = 128;

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Daemon {
    /// Where network namespaces have names (`ip netns`); NAMESPACE.POD names a pod
    /// [default: /var/run/netns, if it is there].
    #[arg(long, value_name = "DIR")]
    netns_dir: Option<PathBuf>,
    /// A file of pod names: lines of `ADDRESS[,ADDRESS…] NAMESPACE/NAME [SERVICE-ACCOUNT]`.
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,
    /// A file of exemptions: traffic that is known to be in clear, why, and until when.
    #[arg(long, value_name = "FILE")]
    exemptions: Option<PathBuf>,
    /// Count plaintext DNS as plaintext, instead of as exempt.
    #[arg(long)]
    judge_dns: bool,
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
    /// Don't ask the Kubernetes API for the policies of meshes (Istio's PeerAuthentication; Linkerd's
    /// Server, ServerAuthorization and AuthorizationPolicy), from which follows what is expected.
    #[arg(long)]
    no_mesh_policies: bool,
    /// Answer callers from outside the node on this address of the loopback interface
    /// (`127.0.0.1:9847`): those whose token the Kubernetes API knows, with what it lets them see.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    api: Option<std::net::SocketAddr>,
    /// How long a closed connection stays listed (`90s`, `10m`, `2h`).
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    window: Duration,
    /// Most connections of the window that `mtls flows` tells one by one, some 2 KB each; 0: none.
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(0..=1_000_000), value_name = "N")]
    history: u32,
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
    /// A flow of datagrams that was quiet for so long is over; one that the kernel samples no more,
    /// this long after the next recheck.
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    datagram_timeout: Duration,
    /// Have the kernel program say on stderr when a sample is lost, and why.
    #[arg(long)]
    kernel_log: bool,
    /// Most connections remembered at a time. Those that are not classified yet may take 128 bytes
    /// for each of these, together; beyond that, the oldest that nobody has answered are evicted.
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

/// What leaves the node by itself.
#[derive(clap::Args, Debug)]
struct Export {
    /// Send records of new edges, changes, downgrades and identity mismatches, and summaries of all edges,
    /// to this OpenTelemetry Collector (`http://collector:4317`).
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// How it is spoken to.
    #[arg(
        long,
        value_enum,
        default_value = "grpc",
        value_name = "PROTOCOL",
        requires = "otlp"
    )]
    otlp_protocol: Protocol,
    /// Send it this header (`Authorization: Bearer …`); may be given several times.
    #[arg(long = "otlp-header", value_name = "NAME: VALUE", requires = "otlp")]
    otlp_headers: Vec<String>,
    /// Send it metrics too.
    #[arg(long, requires = "otlp")]
    otlp_metrics: bool,
    /// Write the same records to this file, a JSON object a line; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How often edges are summed up, and metrics sent.
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    otlp_interval: Duration,
    /// Most records that wait for a Collector or a file; beyond it, the oldest go, and are counted.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "N")]
    otlp_queue: u32,
    /// The cluster's name, for records and metrics.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// How a Collector is spoken to.
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
            interval: self.otlp_interval.max(Duration::from_secs(1)),
            queue: self.otlp_queue as usize,
            cluster: self.cluster,
        }
    }
}

/// What is written into the Kubernetes API.
#[derive(clap::Args, Debug)]
struct Witness {
    /// Write an Event on a pod of this node at each downgrade of one of its edges, and at the first
    /// plaintext of one that is to be mutual TLS.
    #[arg(long)]
    kubernetes_events: bool,
    /// Write a policy report of each pod of this node, with a result of each of its edges.
    #[arg(long, value_enum, value_name = "API")]
    policy_reports: Option<Reports>,
    /// How often policy reports are brought up to date.
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
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
            interval: self.policy_reports_interval.max(Duration::from_secs(1)),
        }
    }
}

/// Where and how metrics are reported.
#[derive(clap::Args, Debug)]
struct Metrics {
    /// Serve metrics for Prometheus here, at `/metrics` (`127.0.0.1:9488`) [default: nowhere].
    #[arg(long = "metrics", value_name = "ADDRESS:PORT")]
    address: Option<std::net::SocketAddr>,
    /// Most edges that get series of their own; the rest is counted under `other`.
    #[arg(long = "metrics-edges", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000), value_name = "N")]
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
            tls: self.cert.zip(self.key),
            token: self.token,
        })
    }
}

/// How TLS 1.3 resumptions are judged.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(in crate::cli) struct Resumptions {
    /// Leave TLS 1.3 resumptions unproven: do not give them the verdict of the last full handshake
    /// of the same client and server.
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
            window: self.window.max(Duration::from_secs(1)),
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
                idle_datagrams: self.datagram_timeout.max(Duration::from_secs(1)),
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
