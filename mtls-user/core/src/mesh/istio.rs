//! Istio with sidecars.

use super::{Mesh, Sidecar};

pub(super) static MESH: Mesh = Mesh {
    name: "istio",
    fingerprint: |hello| {
        hello.server_name.starts_with("outbound_.")
            || hello.offers(|protocol| {
                matches!(
                    protocol,
                    b"istio"
                        | b"istio-peer-exchange"
                        | b"istio-h2"
                        | b"istio-http/1.0"
                        | b"istio-http/1.1"
                )
            })
    },
    identity_marker: None,
    tunnel_port: None,
    sidecar: Some(Sidecar {
        // `sidecar.istio.io`, `istio.io`, and the older `istio-injection`.
        domains: &["istio"],
        containers: &["istio-proxy"],
        marks: &["sidecar.istio.io/status"],
        requests: &[
            ("sidecar.istio.io/inject", &["true"]),
            ("istio-injection", &["enabled"]),
        ],
        skip_inbound: "traffic.sidecar.istio.io/excludeInboundPorts",
        skip_outbound: "traffic.sidecar.istio.io/excludeOutboundPorts",
        opaque: "",
        admin_ports: &[15_000, 15_004, 15_014, 15_020, 15_021, 15_090],
        skipped_by_default: &[],
        opaque_by_default: &[],
    }),
};
