//! What a source knows about the owner of an address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use smol_str::SmolStr;

use super::inbound::Inbound;
use super::mesh::Mesh;
use mtls_core::record::{Kind, Workload};

/// Longest name accepted; Kubernetes allows 253.
pub(super) const MAX_NAME: usize = 253;
/// Most labels kept per pod.
const MAX_LABELS: usize = 16;
/// Longest label key and value kept: keys have a prefix of up to 253 and 64 more.
const MAX_LABEL: usize = 128;

/// Represents every address of the node in [`Entry::addresses`], together with a port.
pub const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// One pod, or another owner of addresses.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// Its name.
    pub workload: Workload,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Only these ports of its shared addresses belong to it; if empty, all do.
    pub ports: Vec<u16>,
    /// Its interfaces on the host's side.
    pub links: Vec<u32>,
    /// Since when it has its addresses, in nanoseconds since the Unix epoch, if that is known more
    /// precisely than when it was first reported.
    pub since: Option<u64>,
    /// Distinguishes it from others with the same name; empty if the source has no such id.
    pub uid: SmolStr,
    /// Further information about it.
    pub facts: Facts,
}

/// Further information about a pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Facts {
    /// Its labels, without those that a controller uses to distinguish pods.
    pub labels: Vec<(String, String)>,
    /// The node it runs on; for another node's entry, that node.
    pub node: Option<SmolStr>,
    /// It uses the host network, and therefore the node's addresses.
    pub host_network: bool,
    /// The mesh that it belongs to, or should.
    pub mesh: Option<Mesh>,
    /// What is expected of connections to it, as far as anything was configured.
    pub inbound: Inbound,
}

impl Entry {
    /// Whether this is a node: this one, or another.
    pub fn is_node(&self) -> bool {
        self.workload.kind == Kind::Node
    }

    /// Whether this is the node that the daemon runs on.
    pub fn is_this_node(&self) -> bool {
        self.is_node() && self.facts.node.is_none()
    }

    /// `NAMESPACE/NAME`, for messages.
    pub fn title(&self) -> String {
        let name = self.workload.pod.as_ref().unwrap_or(&self.workload.name);
        match &*self.workload.namespace {
            "" => name.to_string(),
            namespace => format!("{namespace}/{name}"),
        }
    }
}

/// A name in a form safe for output: bounded, and without hidden characters.
pub(super) fn clean(text: &str) -> SmolStr {
    bounded(text, MAX_NAME).into()
}

fn bounded(text: &str, max: usize) -> String {
    let end = text.floor_char_boundary(max);
    text[..end].replace(mtls_core::escape::is_hidden, "\u{fffd}")
}

/// The labels worth keeping.
pub(super) fn labels(all: &BTreeMap<String, String>) -> Vec<(String, String)> {
    const NOISE: [&str; 9] = [
        "pod-template-hash",
        "rollouts-pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "controller-uid",
        "linkerd.io/workload-ns",
    ];
    all.iter()
        .filter(|(key, _)| !NOISE.contains(&key.as_str()) && !key.starts_with("io.kubernetes."))
        .take(MAX_LABELS)
        .map(|(key, value)| (bounded(key, MAX_LABEL), bounded(value, MAX_LABEL)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_harmless() {
        assert_eq!(clean("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(clean(&"é".repeat(500)).len(), 252);
    }

    #[test]
    fn labels_are_few_and_without_noise() {
        let mut all: BTreeMap<_, _> = (0..40)
            .map(|i| (format!("label{i}"), "x".repeat(1_000)))
            .collect();
        all.insert("app".into(), "web".into());
        all.insert("controller-uid".into(), "1".into());
        let kept = labels(&all);
        assert_eq!(kept.len(), MAX_LABELS);
        assert_eq!(kept[0], ("app".into(), "web".into()));
        assert!(kept.iter().all(|(_, value)| value.len() <= MAX_LABEL));
    }
}
