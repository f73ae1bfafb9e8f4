//! Every metric: its name, its labels, and what it means. `docs/metrics.md` is generated from this list.

/// The type of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Increases, from 0 when the daemon starts.
    Counter,
    /// Increases and decreases.
    Gauge,
}

impl Kind {
    /// Prometheus' name for it.
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
    /// Its type.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its help text, on one line.
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
        "Connections, counted when their verdict is known or when they end";
    EDGE_LAST_SEEN Gauge "mtls_edge_last_seen_timestamp_seconds" LIKE,
        "When a connection with these labels last produced an event; one that is still open may have been used since";
    EDGE_OPEN Gauge "mtls_edge_open_connections" LIKE,
        "Connections that are open now; no series if there are none";
    DOWNGRADES Counter "mtls_downgrades" EDGE,
        "How often a plaintext or server-only TLS connection followed a mutual TLS one on the same edge";
    DOWNGRADE_LAST Gauge "mtls_downgrade_last_seen_timestamp_seconds" EDGE,
        "When a downgrade last happened";
    MISMATCHES Counter "mtls_identity_mismatches" EDGE,
        "Connections with an identity that does not match the pod";
    MISMATCH_LAST Gauge "mtls_identity_mismatch_last_seen_timestamp_seconds" EDGE,
        "When the latest of these was seen";
    OLD_TLS Counter "mtls_old_tls_handshakes" EDGE,
        "Handshakes of TLS 1.1 and earlier";
    OLD_TLS_LAST Gauge "mtls_old_tls_last_seen_timestamp_seconds" EDGE,
        "When the latest of these was seen";
    EDGES Gauge "mtls_metrics_edges" &[],
        "Edges that have series of their own";
    EDGES_LIMIT Gauge "mtls_metrics_edges_limit" &[],
        "Limit on edges with series of their own (--metrics-edges); one workload gets at most an eighth of it";
    OVERFLOW Counter "mtls_metrics_overflow_connections" &[],
        "Connections counted under the edge other, because the limit on edges was reached";
    AGAIN Counter "mtls_metrics_recounted_connections" &["reporter"],
        "Connections counted again because their verdict or the name of an end became known later or was corrected";
    HANDSHAKES Counter "mtls_handshakes" &["reporter", "version", "group", "cipher"],
        "TLS handshakes by negotiated parameters, as far as these were seen";
    CERTIFICATE_EXPIRY Gauge "mtls_certificate_expiry_timestamp_seconds" &["namespace", "workload", "side"],
        "The earliest expiry among the certificates that a workload presented unencrypted (TLS 1.2 and earlier)";
    CERTIFICATE_LIFETIME Gauge "mtls_certificate_lifetime_seconds" &["namespace", "workload", "side"],
        "Total lifetime of that certificate";
    CERTIFICATES_OVERFLOW Counter "mtls_certificates_overflow" &[],
        "Certificates that were not kept because the limit on workloads was reached";
    UNDECIDED Counter "mtls_undecided_connections" &["verdict", "cause"],
        "Connections that ended before it was known whether they were mutual TLS, by cause";
    FLOWS_SEEN Counter "mtls_flows_seen" &[],
        "All connections seen";
    FLOWS_CLASSIFIED Counter "mtls_flows_classified" &[],
        "Connections with a verdict based on evidence";
    FLOWS_UNDECIDED Counter "mtls_flows_undecided" &[],
        "Connections that ended without such a verdict";
    FLOWS_JOINED Counter "mtls_flows_joined" &[],
        "Connections merged from two halves seen before and after an address translation";
    FLOWS_EVICTED Counter "mtls_flows_evicted" &[],
        "Connections evicted because the daemon's table was full";
    FLOWS_REOPENED Counter "mtls_flows_reopened" &[],
        "Connections that continued after they appeared to have ended";
    FLOWS_TRACKED Gauge "mtls_flows_tracked" &[],
        "Connections in the daemon's table, including recently ended ones";
    SEGMENTS_IGNORED Counter "mtls_segments_ignored" &["reason"],
        "Segments that no receiver accepts, or that belong to no known connection";
    EDGE_TABLE Gauge "mtls_edge_table_edges" &[],
        "Edges in the window that mtls edges shows";
    EDGE_TABLE_EVICTED Counter "mtls_edge_table_evicted" &[],
        "Edges that mtls edges lost because its table was full";
    SAMPLES_LOST Counter "mtls_samples_lost" &["reason"],
        "Samples that the kernel could not deliver";
    KERNEL_EVENTS Counter "mtls_kernel_events" &["event"],
        "Other kernel program counters, such as datagrams, fragments and tunnels";
    INTERFACES Gauge "mtls_interfaces" &["state"],
        "Interfaces by state: watched, failed to attach, waiting to be attached, or uplinks";
    PODS Gauge "mtls_pods" &["watched"],
        "Pods with an interface on this node, by whether it is watched";
    ATTACH_LATENCY Gauge "mtls_attach_latency_seconds" &["percentile"],
        "Time from the creation of an interface to the programs being attached, over the latest 1,024";
    SOURCE_ENTRIES Gauge "mtls_source_entries" &["source"],
        "Current entries of a source of names";
    SOURCE_UP Gauge "mtls_source_up" &["source"],
        "1 while the source answers, 0 while its names are from its last answer";
    SOURCE_UPDATED Gauge "mtls_source_updated_timestamp_seconds" &["source"],
        "When the source last answered";
    EXEMPTIONS Gauge "mtls_declared_exemptions" &["expired"],
        "Exemptions that the operator has declared";
    ENGINE_PAUSE Gauge "mtls_engine_longest_pause_seconds" &[],
        "The longest time during which the reader of samples was busy with other work";
    ENGINE_MALFORMED Counter "mtls_engine_malformed" &[],
        "Kernel program events that could not be decoded";
    RING_SIZE Gauge "mtls_ring_size_bytes" &[],
        "Size of the ring buffer for samples";
    RING_WAITING Gauge "mtls_ring_waiting_bytes" &["when"],
        "Bytes waiting in the ring buffer now, and the most that ever waited at the start of a read";
    PROGRAM_RUNS Counter "mtls_bpf_program_runs" &["program"],
        "Runs of a kernel program while it was measured: the first ten seconds, then one second per minute";
    PROGRAM_SECONDS Counter "mtls_bpf_program_run_seconds" &["program"],
        "Total duration of those runs";
    RECORDS Counter "mtls_exported_records" &["outlet", "result"],
        "Records for OpenTelemetry (otlp), JSON lines (events), Kubernetes Events and policy reports; dropped: did not fit into the queue, exceeded a limit or was rejected";
    RECORDS_QUEUED Gauge "mtls_exported_records_queued" &["outlet"],
        "Records waiting to be sent or written";
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
        "Open file descriptors of the daemon";
    MAX_FDS Gauge "process_max_fds" &[],
        "Limit on open file descriptors of the daemon";
    THREADS Gauge "process_threads" &[],
        "Threads of the daemon";
}
