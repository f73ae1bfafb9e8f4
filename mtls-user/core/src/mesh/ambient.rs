//! Istio without sidecars (ambient): HBONE between the nodes' proxies.

use super::Mesh;
use crate::wire::tls::hello::protocols;

/// The port of HBONE.
const HBONE: u16 = 15_008;

pub(super) static MESH: Mesh = Mesh {
    name: "istio-ambient",
    fingerprint: |hello| {
        hello.port == HBONE
            && hello.server_name.is_empty()
            && protocols(hello.alpn).eq([b"h2".as_slice()])
    },
    identity_marker: None,
    tunnel_port: Some(HBONE),
    sidecar: None,
};
