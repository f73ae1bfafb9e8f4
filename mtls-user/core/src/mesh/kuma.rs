//! Kuma, and Kong Mesh.

use super::{Mesh, Sidecar};

pub(super) static MESH: Mesh = Mesh {
    name: "kuma",
    fingerprint: |hello| {
        let name = hello.server_name;
        ["sni.msvc.", "sni.extsvc.", "sni.mzsvc."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || name.contains("{mesh=")
            || hello.offers(|protocol| protocol == b"kuma")
    },
    identity_marker: None,
    tunnel_port: None,
    sidecar: Some(Sidecar {
        domains: &["kuma.io"],
        containers: &["kuma-sidecar"],
        marks: &["kuma.io/sidecar-injected"],
        requests: &[("kuma.io/sidecar-injection", &["enabled"])],
        skip_inbound: "traffic.kuma.io/exclude-inbound-ports",
        skip_outbound: "traffic.kuma.io/exclude-outbound-ports",
        opaque: "",
        admin_ports: &[9901, 9902, 5670],
        skipped_by_default: &[],
        opaque_by_default: &[],
    }),
};
