//! API objects in the form that is written.

use k8s_openapi::api::core::v1::ObjectReference;
use mtls_core::record::Peer;

use super::Pod;

impl Pod {
    /// A reference to it.
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.namespace.to_string()),
            name: Some(self.name.to_string()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        }
    }
}

/// A reference to an end of a flow, if it is a pod.
pub(super) fn related(peer: &Peer) -> Option<ObjectReference> {
    let who = peer.workload.as_ref()?;
    Some(ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(who.namespace.to_string()),
        name: Some(who.pod.as_ref()?.to_string()),
        ..ObjectReference::default()
    })
}

/// `shop/web`, or the address.
pub(super) fn title(peer: &Peer) -> String {
    let name = peer.name();
    match peer.namespace() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_string(),
    }
}
