//! Service meshes: everything known about each is in one file and in one line of [`ALL`].
//!
//! What a proxy writes into a ClientHello is a claim, not proof: it names the mesh, and is reported
//! next to what the handshake shows. What an injector writes onto a pod says which traffic the mesh
//! was meant to protect.

mod ambient;
mod consul;
mod istio;
mod kuma;
mod linkerd;
mod osm;

use smol_str::SmolStr;

use crate::wire::tls::hello::protocols;

/// Every mesh. If two have the same fingerprint, the first is used.
pub const ALL: [&Mesh; 6] = [
    &linkerd::MESH,
    &istio::MESH,
    &consul::MESH,
    &kuma::MESH,
    &osm::MESH,
    &ambient::MESH,
];

/// A mesh, on the wire and on pods. All of them require a client certificate.
#[derive(Debug)]
pub struct Mesh {
    /// Its name in every output.
    pub name: &'static str,
    /// Whether a ClientHello looks like one of its proxies'.
    pub fingerprint: fn(&Hello<'_>) -> bool,
    /// The part of the server name that shows that it is the server's identity.
    pub identity_marker: Option<&'static str>,
    /// A port that suggests that a connection may belong to this mesh, whatever the hello says.
    pub tunnel_port: Option<u16>,
    /// How its injector marks pods; none if the mesh has no sidecars.
    pub sidecar: Option<Sidecar>,
}

/// The traces of a sidecar's injector on pods and namespaces.
#[derive(Debug)]
pub struct Sidecar {
    /// Part of the key of every label and annotation below.
    pub domains: &'static [&'static str],
    /// Names of its proxy's container.
    pub containers: &'static [&'static str],
    /// Annotations that its injector writes.
    pub marks: &'static [&'static str],
    /// Labels or annotations of a pod or a namespace that request its proxy, with the values that
    /// do so.
    pub requests: &'static [(&'static str, &'static [&'static str])],
    /// Annotation: ports whose incoming connections bypass the proxy.
    pub skip_inbound: &'static str,
    /// Annotation: ports whose outgoing connections bypass the proxy.
    pub skip_outbound: &'static str,
    /// Annotation: ports whose protocol the proxy does not inspect.
    pub opaque: &'static str,
    /// The proxy's own ports with plaintext: metrics, health, administration.
    pub admin_ports: &'static [u16],
    /// Ports that bypass the proxy unless an annotation says otherwise.
    pub skipped_by_default: &'static [u16],
    /// Ports that are opaque unless an annotation says otherwise.
    pub opaque_by_default: &'static [u16],
}

/// The parts of a ClientHello that distinguish meshes.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// The server name (SNI), or an empty text.
    pub server_name: &'a str,
    /// The protocols offered, as the ALPN extension lists them on the wire (RFC 7301 §3.1).
    pub alpn: &'a [u8],
    /// The port it was sent to.
    pub port: u16,
}

impl Hello<'_> {
    /// Whether `is` holds for one of the offered protocols.
    fn offers(&self, is: impl Fn(&[u8]) -> bool) -> bool {
        protocols(self.alpn).any(is)
    }
}

impl Mesh {
    /// The mesh whose fingerprint a ClientHello has.
    pub fn of(hello: &Hello<'_>) -> Option<&'static Self> {
        ALL.into_iter().find(|mesh| (mesh.fingerprint)(hello))
    }

    /// The server's identity, if this mesh writes it into the server name.
    pub fn server_identity(&self, server_name: Option<&SmolStr>) -> Option<SmolStr> {
        let marker = self.identity_marker?;
        server_name.filter(|name| name.contains(marker)).cloned()
    }

    /// Whether a connection to this port may be meant for a mesh, whatever its hello says.
    pub fn has_tunnel_at(port: u16) -> bool {
        ALL.iter().any(|mesh| mesh.tunnel_port == Some(port))
    }

    /// Every mesh with sidecars.
    pub fn with_sidecars() -> impl Iterator<Item = (&'static Self, &'static Sidecar)> {
        ALL.into_iter()
            .filter_map(|mesh| Some((mesh, mesh.sidecar.as_ref()?)))
    }
}

#[cfg(test)]
mod tests;
