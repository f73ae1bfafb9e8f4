//! What a watch tells, and of what.

use super::object::NamespaceInfo;
use super::pod::Pod;
use super::policy::{AuthorizationPolicy, PeerAuthentication, Server, ServerAuthorization};
use super::service::{Service, Slice};

/// What happened to the objects of one kind. Keys are `NAMESPACE/NAME`.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// These are all there are.
    All(Vec<(String, T)>),
    /// One is there, or is different.
    Apply(String, T),
    /// One is gone.
    Delete(String),
    /// Nothing new, but the API was there to say so.
    Alive,
    /// The API is out of reach, for this reason.
    Failed(String),
}

/// A change, of the kind of object that it is about.
#[derive(Debug)]
pub(super) enum News {
    Pods(Change<Pod>),
    Namespaces(Change<NamespaceInfo>),
    Services(Change<Service>),
    Slices(Change<Slice>),
    PeerAuthentications(Change<PeerAuthentication>),
    Servers(Change<Server>),
    ServerAuthorizations(Change<ServerAuthorization>),
    AuthorizationPolicies(Change<AuthorizationPolicy>),
}
