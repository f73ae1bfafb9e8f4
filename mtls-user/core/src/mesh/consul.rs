//! Consul Connect.

use super::{Mesh, Sidecar};

pub(super) static MESH: Mesh = Mesh {
    name: "consul",
    fingerprint: |hello| {
        hello.offers(|protocol| protocol.starts_with(b"consul~")) || is_internal(hello.server_name)
    },
    identity_marker: None,
    tunnel_port: None,
    sidecar: Some(Sidecar {
        domains: &["consul.hashicorp.com"],
        containers: &["consul-dataplane", "envoy-sidecar"],
        marks: &["consul.hashicorp.com/connect-inject-status"],
        requests: &[("consul.hashicorp.com/connect-inject", &["true"])],
        skip_inbound: "consul.hashicorp.com/transparent-proxy-exclude-inbound-ports",
        skip_outbound: "consul.hashicorp.com/transparent-proxy-exclude-outbound-ports",
        opaque: "",
        admin_ports: &[19_000, 20_200],
        skipped_by_default: &[],
        opaque_by_default: &[],
    }),
};

/// `SERVICE.NAMESPACE.DATACENTER.internal.TRUST-DOMAIN.consul`, with a partition or a peer between.
fn is_internal(name: &str) -> bool {
    let mut labels = name.split('.');
    name.ends_with(".consul")
        && labels.clone().count() >= 6
        && labels.any(|label| label == "internal" || label == "internal-v1")
}
