//! The changes that a watch reports.

use super::object::NamespaceInfo;
use super::pod::Pod;
use super::policy::{AuthorizationPolicy, PeerAuthentication, Server, ServerAuthorization};
use super::service::{Service, Slice};

/// A change of the objects of one kind. Keys are `NAMESPACE/NAME`.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// The complete list.
    All(Vec<(String, T)>),
    /// An object exists, or has changed.
    Apply(String, T),
    /// An object is gone.
    Delete(String),
    /// Nothing new, but the API answered.
    Alive,
    /// The API cannot be reached, for this reason.
    Failed(String),
}

/// A change, with the kind of object.
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
