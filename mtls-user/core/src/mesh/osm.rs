//! Open Service Mesh: archived, but still in use.

use super::Mesh;

pub(super) static MESH: Mesh = Mesh {
    name: "osm",
    fingerprint: |hello| hello.offers(|protocol| protocol == b"osm"),
    identity_marker: None,
    tunnel_port: None,
    sidecar: None,
};
