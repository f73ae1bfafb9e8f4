//! Service meshes: all that is known of each, in one file and one line of [`ALL`].
//!
//! What a proxy writes into a ClientHello is a claim, no proof: it names the mesh and stands beside
//! what the handshake shows. What an injector writes onto a pod says which traffic the mesh was
//! meant to protect.

mod ambient;
mod consul;
mod istio;
mod kuma;
mod linkerd;
mod osm;

use smol_str::SmolStr;

use crate::wire::tls::hello::protocols;

/// Every mesh. Where two bear the same fingerprint, the first is taken.
pub const ALL: [&Mesh; 6] = [
    &linkerd::MESH,
    &istio::MESH,
    &consul::MESH,
    &kuma::MESH,
    &osm::MESH,
    &ambient::MESH,
];

/// A mesh, on the wire and on pods. All of them demand the client's certificate.
#[derive(Debug)]
pub struct Mesh {
    /// Its name in every output.
    pub name: &'static str,
    /// Whether a ClientHello is one that its proxies send.
    pub fingerprint: fn(&Hello<'_>) -> bool,
    /// A part of the server name that shows it to be the server's identity.
    pub identity_marker: Option<&'static str>,
    /// Its port says that a connection may be of this mesh, whatever the hello says.
    pub tunnel_port: Option<u16>,
    /// How its injector marks pods; none where the mesh has no sidecars.
    pub sidecar: Option<Sidecar>,
}

/// The traces of a sidecar's injector on pods and namespaces.
#[derive(Debug)]
pub struct Sidecar {
    /// Part of the key of every label and annotation below.
    pub domains: &'static [&'static str],
    /// Names of its proxy's container.
    pub containers: &'static [&'static str],
    /// Annotations that the injector writes.
    pub marks: &'static [&'static str],
    /// Labels or annotations of a pod or a namespace that ask for its proxy, with the values that do.
    pub requests: &'static [(&'static str, &'static [&'static str])],
    /// Annotation: ports on which the proxy leaves incoming connections alone.
    pub skip_inbound: &'static str,
    /// Annotation: ports to which the proxy leaves outgoing connections alone.
    pub skip_outbound: &'static str,
    /// Annotation: ports whose protocol the proxy does not look at.
    pub opaque: &'static str,
    /// Ports of the proxy's own on which it speaks plaintext: metrics, health, administration.
    pub admin_ports: &'static [u16],
    /// Ports that are left alone unless an annotation says otherwise.
    pub skipped_by_default: &'static [u16],
    /// Ports that are opaque unless an annotation says otherwise.
    pub opaque_by_default: &'static [u16],
}

/// What of a ClientHello tells meshes apart.
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
    /// Whether one of the protocols offered is as `is` says.
    fn offers(&self, is: impl Fn(&[u8]) -> bool) -> bool {
        protocols(self.alpn).any(is)
    }
}

impl Mesh {
    /// The mesh that a ClientHello bears the fingerprint of.
    pub fn of(hello: &Hello<'_>) -> Option<&'static Self> {
        ALL.into_iter().find(|mesh| (mesh.fingerprint)(hello))
    }

    /// The server's identity, where this mesh writes it into the server name.
    pub fn server_identity(&self, server_name: Option<&SmolStr>) -> Option<SmolStr> {
        let marker = self.identity_marker?;
        server_name.filter(|name| name.contains(marker)).cloned()
    }

    /// Whether some mesh may be meant by a connection to this port, whatever its hello says.
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
