//! Every metric: its name, what its labels are, and what it means. `docs/metrics.md` is made of it.

/// What kind of number a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Goes up, from 0 when the daemon starts.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// The word that Prometheus has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, without the `_total` of a counter.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, on one line.
    pub help: &'static str,
}

impl Metric {
    /// The name of its series.
    pub fn series(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge => self.name.to_owned(),
        }
    }
}

macro_rules! catalog {
    ($($constant:ident $kind:ident $name:literal $labels:expr, $help:literal;)+) => {
        $(pub(super) const $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
        };)+

        /// Every metric, in the order of the page.
        pub const CATALOG: &[Metric] = &[$($constant),+];
    };
}

const EDGE: &[&str] = &[
    "reporter",
    "source_namespace",
    "source_workload",
    "destination_namespace",
    "destination_workload",
    "destination_port",
    "transport",
];
const LIKE: &[&str] = &[
    "reporter",
    "source_namespace",
    "source_workload",
    "destination_namespace",
    "destination_workload",
    "destination_port",
    "transport",
    "verdict",
    "exempt",
    "outcome",
    "mark",
];

catalog! {
    EDGE_CONNECTIONS Counter "mtls_edge_connections" LIKE,
        "Connections, counted when it is known what they are or when they end";
    EDGE_LAST_SEEN Gauge "mtls_edge_last_seen_timestamp_seconds" LIKE,
        "When something was last told of a connection like this; one that is open since may have been used since";
    EDGE_OPEN Gauge "mtls_edge_open_connections" LIKE,
        "Connections that are open now; no series where there are none";
    DOWNGRADES Counter "mtls_downgrades" EDGE,
        "Times that a plaintext or server-only TLS connection followed a mutual TLS one on the same edge";
    DOWNGRADE_LAST Gauge "mtls_downgrade_last_seen_timestamp_seconds" EDGE,
        "When that last happened";
    MISMATCHES Counter "mtls_identity_mismatches" EDGE,
        "Connections with an identity that is not that of its pod";
    MISMATCH_LAST Gauge "mtls_identity_mismatch_last_seen_timestamp_seconds" EDGE,
        "When the latest of them was seen";
    OLD_TLS Counter "mtls_old_tls_handshakes" EDGE,
        "Handshakes of TLS 1.1 and before";
    OLD_TLS_LAST Gauge "mtls_old_tls_last_seen_timestamp_seconds" EDGE,
        "When the latest of them was seen";
    EDGES Gauge "mtls_metrics_edges" &[],
        "Edges that have series of their own";
    EDGES_LIMIT Gauge "mtls_metrics_edges_limit" &[],
        "Most edges that get series of their own (--metrics-edges); one workload gets an eighth of it";
    OVERFLOW Counter "mtls_metrics_overflow_connections" &[],
        "Connections counted under the edge other, as theirs found no room";
    AGAIN Counter "mtls_metrics_recounted_connections" &["reporter"],
        "Connections counted a second time, as their verdict or an end's name was known later or corrected";
    HANDSHAKES Counter "mtls_handshakes" &["reporter", "version", "group", "cipher"],
        "TLS handshakes by what was negotiated, as far as it was seen";
    CERTIFICATE_EXPIRY Gauge "mtls_certificate_expiry_timestamp_seconds" &["namespace", "workload", "side"],
        "When the certificate expires that ends first of those that a workload presented in clear (TLS 1.2 and before)";
    CERTIFICATE_LIFETIME Gauge "mtls_certificate_lifetime_seconds" &["namespace", "workload", "side"],
        "For how long that certificate is valid in all";
    CERTIFICATES_OVERFLOW Counter "mtls_certificates_overflow" &[],
        "Certificates that were not kept, as those of too many workloads are";
    UNDECIDED Counter "mtls_undecided_connections" &["verdict", "cause"],
        "Connections that ended without it being known whether they were mutual TLS, by reason";
    FLOWS_SEEN Counter "mtls_flows_seen" &[],
        "Connections ever opened";
    FLOWS_CLASSIFIED Counter "mtls_flows_classified" &[],
        "Connections that were given a verdict from evidence";
    FLOWS_UNDECIDED Counter "mtls_flows_undecided" &[],
        "Connections that ended without one";
    FLOWS_JOINED Counter "mtls_flows_joined" &[],
        "Connections that were two halves, merged across an address translation";
    FLOWS_EVICTED Counter "mtls_flows_evicted" &[],
        "Connections that were forgotten because the daemon's table was full";
    FLOWS_REOPENED Counter "mtls_flows_reopened" &[],
        "Connections that went on although they had ended";
    FLOWS_TRACKED Gauge "mtls_flows_tracked" &[],
        "Connections in the daemon's table, ended ones that linger included";
    SEGMENTS_IGNORED Counter "mtls_segments_ignored" &["reason"],
        "Segments that no receiver takes, or that belong to no known connection";
    EDGE_TABLE Gauge "mtls_edge_table_edges" &[],
        "Edges of the window that mtls edges shows";
    EDGE_TABLE_EVICTED Counter "mtls_edge_table_evicted" &[],
        "Edges that mtls edges forgot because its table was full";
    SAMPLES_LOST Counter "mtls_samples_lost" &["reason"],
        "Samples that the kernel could not deliver";
    KERNEL_EVENTS Counter "mtls_kernel_events" &["event"],
        "What the kernel program has counted beside lost samples, datagrams, fragments and tunnels among it";
    INTERFACES Gauge "mtls_interfaces" &["state"],
        "Interfaces that are watched, could not be attached to, wait for it, or lead to the network";
    PODS Gauge "mtls_pods" &["watched"],
        "Pods with an interface on this node, by whether it is watched";
    ATTACH_LATENCY Gauge "mtls_attach_latency_seconds" &["percentile"],
        "From the making of an interface to the programs on it, of the latest 1,024";
    SOURCE_ENTRIES Gauge "mtls_source_entries" &["source"],
        "Entries of a source of names that hold now";
    SOURCE_UP Gauge "mtls_source_up" &["source"],
        "1 while the source answers, 0 while its names are those of its last answer";
    SOURCE_UPDATED Gauge "mtls_source_updated_timestamp_seconds" &["source"],
        "When the source last answered";
    EXEMPTIONS Gauge "mtls_declared_exemptions" &["expired"],
        "Exemptions that the operator has declared";
    ENGINE_PAUSE Gauge "mtls_engine_longest_pause_seconds" &[],
        "The longest time that the reader of samples spent on anything before it could read again";
    ENGINE_MALFORMED Counter "mtls_engine_malformed" &[],
        "Events of the kernel program that could not be understood";
    RING_SIZE Gauge "mtls_ring_size_bytes" &[],
        "Size of the ring buffer that samples are read from";
    RING_WAITING Gauge "mtls_ring_waiting_bytes" &["when"],
        "Bytes that wait in it now, and the most that ever waited when it was about to be read";
    PROGRAM_RUNS Counter "mtls_bpf_program_runs" &["program"],
        "Times that a kernel program ran while it was measured: the first ten seconds, then one a minute";
    PROGRAM_SECONDS Counter "mtls_bpf_program_run_seconds" &["program"],
        "Seconds that those runs took";
    RECORDS Counter "mtls_exported_records" &["outlet", "result"],
        "Records for OpenTelemetry (otlp), lines of JSON (events), Events and policy reports for Kubernetes; dropped: what did not fit into the queue, was one too many or was refused";
    RECORDS_QUEUED Gauge "mtls_exported_records_queued" &["outlet"],
        "Records that wait to be sent or written";
    BUILD Gauge "mtls_build_info" &["version"],
        "1, with the version of the daemon";
    CPU Counter "process_cpu_seconds" &[],
        "User and system CPU time of the daemon";
    RESIDENT Gauge "process_resident_memory_bytes" &[],
        "Resident memory of the daemon";
    VIRTUAL Gauge "process_virtual_memory_bytes" &[],
        "Virtual memory of the daemon";
    START Gauge "process_start_time_seconds" &[],
        "When the daemon started";
    OPEN_FDS Gauge "process_open_fds" &[],
        "File descriptors that the daemon has open";
    MAX_FDS Gauge "process_max_fds" &[],
        "File descriptors that the daemon may have open";
    THREADS Gauge "process_threads" &[],
        "Threads of the daemon";
}
