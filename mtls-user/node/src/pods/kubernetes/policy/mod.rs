//! What the policies of a mesh require of connections to a pod.
//!
//! They are requested only if a pod or a namespace shows that the mesh is installed, and their CRDs
//! may not exist.

mod istio;
mod linkerd;
mod selector;

use std::collections::BTreeMap;

pub(super) use istio::PeerAuthentication;
pub(super) use linkerd::{AuthorizationPolicy, Server, ServerAuthorization};

use super::change::News;
use super::objects::Objects;
use crate::pods::inbound::Layer;
use crate::pods::mesh::{Membership, Mesh, Scope};

/// The properties of a pod by which policies select it.
pub(super) struct Subject<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) annotations: &'a BTreeMap<String, String>,
    /// Its namespace's labels and annotations.
    pub(super) scope: Option<&'a Scope>,
    /// Its containers' named ports.
    pub(super) ports: &'a [(String, u16)],
}

/// All policies.
#[derive(Default)]
pub(super) struct Policies {
    peers: Objects<PeerAuthentication>,
    servers: Objects<Server>,
    server_authorizations: Objects<ServerAuthorization>,
    authorizations: Objects<AuthorizationPolicy>,
}

impl Policies {
    /// Applies a change of a policy; returns whether anything changed.
    pub(super) fn take(&mut self, news: News) -> bool {
        match news {
            News::PeerAuthentications(change) => self.peers.take(change),
            News::Servers(change) => self.servers.take(change),
            News::ServerAuthorizations(change) => self.server_authorizations.take(change),
            News::AuthorizationPolicies(change) => self.authorizations.take(change),
            _ => false,
        }
    }

    /// Their settings for connections to a pod of `mesh`; the first that applies is used.
    pub(super) fn of(&self, pod: &Subject<'_>, mesh: &Mesh) -> Vec<Layer> {
        match mesh.name {
            "istio" => istio::layers(&self.peers, pod, mesh.membership == Membership::Ambient),
            "linkerd" => linkerd::layers(self, pod),
            _ => Vec::new(),
        }
    }

    /// The keys of all, with their kinds.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let name = |kind: &'static str| move |key: &String| format!("{kind}/{key}");
        let peers = self.peers.all.keys().map(name("peerauthentication"));
        let servers = self.servers.all.keys().map(name("server"));
        let server = self.server_authorizations.all.keys();
        let policies = self.authorizations.all.keys();
        peers
            .chain(servers)
            .chain(server.map(name("serverauthorization")))
            .chain(policies.map(name("authorizationpolicy")))
    }

    /// Why some cannot be requested.
    pub(super) fn error(&self) -> Option<&String> {
        self.peers
            .error
            .as_ref()
            .or(self.servers.error.as_ref())
            .or(self.server_authorizations.error.as_ref())
            .or(self.authorizations.error.as_ref())
    }

    /// Whether some were listed.
    pub(super) fn listed(&self) -> bool {
        self.peers.listed
            || self.servers.listed
            || self.server_authorizations.listed
            || self.authorizations.listed
    }
}
