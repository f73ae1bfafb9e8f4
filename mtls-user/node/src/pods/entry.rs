//! What a source knows of whoever owns an address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use smol_str::SmolStr;

use super::inbound::Inbound;
use super::mesh::Mesh;
use mtls_core::record::{Kind, Workload};

/// Longest name taken; Kubernetes allows 253.
pub(super) const MAX_NAME: usize = 253;
/// Most labels kept of a pod.
const MAX_LABELS: usize = 16;
/// Longest label kept, its key and its value each: keys have a prefix of up to 253 and 64 more.
const MAX_LABEL: usize = 128;

/// Stands for every address of the node in [`Entry::addresses`], where a port comes with it.
pub const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// One pod, or anything else that owns addresses.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// Its name.
    pub workload: Workload,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Only these ports of its addresses are its own, as those are shared; empty: all of them.
    pub ports: Vec<u16>,
    /// Its interfaces on the host's side.
    pub links: Vec<u32>,
    /// Since when it has its addresses, in nanoseconds since the Unix epoch, where that is known
    /// better than by when it was heard of.
    pub since: Option<u64>,
    /// Tells it from others that have had its name; empty where the source has no such thing.
    pub uid: SmolStr,
    /// What else is known of it.
    pub facts: Facts,
}

/// What else is known of a pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Facts {
    /// Its labels, by key; those that a controller sets to tell one pod from another left out.
    pub labels: Vec<(String, String)>,
    /// The node it runs on; of another node, that node.
    pub node: Option<SmolStr>,
    /// It shares the node's network, and with it the node's addresses.
    pub host_network: bool,
    /// The mesh it belongs to, or was meant to.
    pub mesh: Option<Mesh>,
    /// What connections to it are to be, as far as anybody has said.
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

/// A name as it may go to outputs: bounded, and with nothing hidden in it.
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
