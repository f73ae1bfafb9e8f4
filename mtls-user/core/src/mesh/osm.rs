//! Open Service Mesh: archived, and still met.

use super::Mesh;

pub(super) static MESH: Mesh = Mesh {
    name: "osm",
    fingerprint: |hello| hello.offers(|protocol| protocol == b"osm"),
    identity_marker: None,
    tunnel_port: None,
    sidecar: None,
};
