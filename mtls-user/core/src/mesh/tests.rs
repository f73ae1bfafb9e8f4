use super::*;

fn named(server_name: &str, alpn: &[&str], port: u16) -> Option<&'static str> {
    let mut list = Vec::new();
    for protocol in alpn {
        list.push(protocol.len() as u8);
        list.extend(protocol.as_bytes());
    }
    let hello = Hello {
        server_name,
        alpn: &list,
        port,
    };
    Mesh::of(&hello).map(|mesh| mesh.name)
}

/// Hellos observed from proxies of each mesh: server name, protocols, port.
const SEEN: [(&str, &str, &[&str], u16); 12] = [
    (
        "linkerd",
        "web.shop.serviceaccount.identity.linkerd.cluster.local",
        &[],
        80,
    ),
    ("linkerd", "x", &["transport.l5d.io/v1"], 4143),
    (
        "istio",
        "outbound_.80_._.web.shop.svc.cluster.local",
        &["istio"],
        80,
    ),
    ("istio", "", &["istio-http/1.1", "istio", "http/1.1"], 80),
    ("istio-ambient", "", &["h2"], 15_008),
    (
        "consul",
        "web.default.dc1.internal.1234-5678.consul",
        &[],
        20_000,
    ),
    ("consul", "web", &["consul~http/1.1"], 20_000),
    ("kuma", "web{mesh=default}", &[], 80),
    ("kuma", "sni.msvc.web", &[], 80),
    ("kuma", "web", &["kuma"], 80),
    ("osm", "web.shop.svc", &["osm"], 80),
    ("osm", "", &["osm", "h2"], 80),
];

#[test]
fn every_mesh_is_known_by_its_fingerprint() {
    for (mesh, name, alpn, port) in SEEN {
        assert_eq!(named(name, alpn, port), Some(mesh), "{name:?} {alpn:?}");
    }
    for mesh in ALL {
        let is_seen = SEEN.iter().any(|(name, ..)| *name == mesh.name);
        assert!(is_seen, "{} has no row in SEEN", mesh.name);
    }
}

#[test]
fn others_bear_none() {
    assert_eq!(named("example.com", &["h2", "http/1.1"], 443), None);
    assert_eq!(named("", &["h2"], 443), None);
    assert_eq!(named("x", &["h2"], 15_008), None);
    assert_eq!(named("www.internal.example.com", &[], 443), None);
}

#[test]
fn linkerd_names_the_server() {
    let name = SmolStr::new("web.shop.serviceaccount.identity.linkerd.cluster.local");
    assert_eq!(
        linkerd::MESH.server_identity(Some(&name)),
        Some(name.clone())
    );
    assert_eq!(istio::MESH.server_identity(Some(&name)), None);
    let other = SmolStr::new("web.shop.svc");
    assert_eq!(linkerd::MESH.server_identity(Some(&other)), None);
}

#[test]
fn no_file_of_a_mesh_is_forgotten() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mesh");
    let files = std::fs::read_dir(dir).expect("list the meshes");
    let files = files.map(|entry| entry.expect("list the meshes").file_name());
    let meshes = files.filter(|name| name != "mod.rs" && name != "tests.rs");
    assert_eq!(meshes.count(), ALL.len(), "a file without a line in ALL");
}

#[test]
fn every_annotation_is_in_a_domain_of_its_mesh() {
    for (mesh, sidecar) in Mesh::with_sidecars() {
        let requests = sidecar.requests.iter().map(|(key, _)| key);
        let ports = [
            &sidecar.skip_inbound,
            &sidecar.skip_outbound,
            &sidecar.opaque,
        ];
        for key in sidecar.marks.iter().chain(requests).chain(ports) {
            let is_kept = sidecar.domains.iter().any(|domain| key.contains(domain));
            assert!(key.is_empty() || is_kept, "{}: {key}", mesh.name);
        }
    }
}
