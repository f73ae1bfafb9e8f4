//! Meshes by their fingerprint: what their proxies write into the ClientHello. A claim, no proof:
//! it names the mesh, and stands beside what the handshake shows.

use smol_str::SmolStr;

use crate::wire::tls::hello::protocols;

/// The port of HBONE, ambient Istio's tunnel.
const HBONE: u16 = 15008;

/// A mesh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mesh {
    pub(super) name: &'static str,
    /// The server's identity, where the mesh writes it into the SNI.
    pub(super) server_identity: Option<SmolStr>,
}

/// The mesh that a hello with this server name and these protocols, sent to this port, is of. All
/// of these meshes demand the client's certificate.
pub(super) fn of(server_name: Option<&SmolStr>, alpn: &[u8], port: u16) -> Option<Mesh> {
    let mesh = |name| {
        Some(Mesh {
            name,
            server_identity: None,
        })
    };
    let name = server_name.map(SmolStr::as_str).unwrap_or_default();
    if name.contains(".serviceaccount.identity.") {
        return Some(Mesh {
            name: "linkerd",
            server_identity: server_name.cloned(),
        });
    }
    for protocol in protocols(alpn) {
        match protocol {
            b"transport.l5d.io/v1" => return mesh("linkerd"),
            b"istio"
            | b"istio-peer-exchange"
            | b"istio-h2"
            | b"istio-http/1.0"
            | b"istio-http/1.1" => return mesh("istio"),
            b"kuma" => return mesh("kuma"),
            b"osm" => return mesh("osm"),
            consul if consul.starts_with(b"consul~") => return mesh("consul"),
            _ => {}
        }
    }
    let mut labels = name.split('.');
    if name.starts_with("outbound_.") {
        mesh("istio")
    } else if labels.clone().count() >= 6
        && labels.any(|l| l == "internal" || l == "internal-v1")
        && name.ends_with(".consul")
    {
        mesh("consul")
    } else if ["sni.msvc.", "sni.extsvc.", "sni.mzsvc."]
        .iter()
        .any(|p| name.starts_with(p))
        || name.contains("{mesh=")
    {
        mesh("kuma")
    } else if is_hbone(port) && server_name.is_none() && protocols(alpn).eq([b"h2"]) {
        mesh("istio-ambient")
    } else {
        None
    }
}

/// Whether the port alone says which mesh it may be.
pub(super) fn is_hbone(port: u16) -> bool {
    port == HBONE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: Option<&str>, alpn: &[&str], port: u16) -> Option<&'static str> {
        let mut list = Vec::new();
        for protocol in alpn {
            list.push(protocol.len() as u8);
            list.extend(protocol.as_bytes());
        }
        of(name.map(SmolStr::new).as_ref(), &list, port).map(|mesh| mesh.name)
    }

    #[test]
    fn fingerprints() {
        let linkerd = "web.shop.serviceaccount.identity.linkerd.cluster.local";
        let linkerd_name = SmolStr::new(linkerd);
        assert_eq!(
            of(Some(&linkerd_name), &[], 80).unwrap().server_identity,
            Some(linkerd_name)
        );
        for (name, alpn, port, mesh) in [
            (Some("x"), &["transport.l5d.io/v1"][..], 4143, "linkerd"),
            (
                Some("outbound_.80_._.web.shop.svc.cluster.local"),
                &["istio"],
                80,
                "istio",
            ),
            (None, &["istio-http/1.1", "istio", "http/1.1"], 80, "istio"),
            (None, &["h2"], 15008, "istio-ambient"),
            (
                Some("web.default.dc1.internal.1234-5678.consul"),
                &[],
                20000,
                "consul",
            ),
            (Some("web{mesh=default}"), &[], 80, "kuma"),
            (Some("web"), &["kuma"], 80, "kuma"),
            (Some("web.shop.svc"), &["osm"], 80, "osm"),
        ] {
            assert_eq!(named(name, alpn, port), Some(mesh), "{name:?} {alpn:?}");
        }
        assert_eq!(named(Some("example.com"), &["h2", "http/1.1"], 443), None);
        assert_eq!(named(None, &["h2"], 443), None);
        assert_eq!(named(Some("www.internal.example.com"), &[], 443), None);
    }
}
