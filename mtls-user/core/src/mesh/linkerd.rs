//! Linkerd 2.

use super::{Mesh, Sidecar};

/// Between `ACCOUNT.NAMESPACE` and the control plane's domain.
const IDENTITY: &str = ".serviceaccount.identity.";

pub(super) static MESH: Mesh = Mesh {
    name: "linkerd",
    fingerprint: |hello| {
        hello.server_name.contains(IDENTITY)
            || hello.offers(|protocol| protocol == b"transport.l5d.io/v1")
    },
    identity_marker: Some(IDENTITY),
    tunnel_port: None,
    sidecar: Some(Sidecar {
        domains: &["linkerd.io"],
        containers: &["linkerd-proxy"],
        marks: &["linkerd.io/proxy-version"],
        requests: &[("linkerd.io/inject", &["enabled", "ingress"])],
        skip_inbound: "config.linkerd.io/skip-inbound-ports",
        skip_outbound: "config.linkerd.io/skip-outbound-ports",
        opaque: "config.linkerd.io/opaque-ports",
        admin_ports: &[4190, 4191, 9990, 9996],
        skipped_by_default: &[4567, 4568],
        opaque_by_default: &[25, 587, 3306, 4444, 5432, 6379, 9300, 11_211],
    }),
};
