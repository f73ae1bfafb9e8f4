//! Converts a sandbox, as reported by the runtime, to an entry of the directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;

use hashbrown::HashMap;
use serde::Deserialize;

use super::runtime_v1::{NamespaceMode, PodSandbox, PodSandboxStatusResponse};
use crate::pods::entry::{Entry, Facts, clean, labels};
use crate::pods::inbound;
use crate::pods::mesh::{self, Signs};
use crate::pods::owner;
use mtls_core::record::Workload;

/// Most addresses per pod.
const MAX_ADDRESSES: usize = 32;

/// Information about a sandbox that the list lacks.
#[derive(Clone, Debug, Default)]
pub(super) struct Detail {
    /// Addresses according to the runtime: those that its network plug-in assigned to the pod.
    pub(super) addresses: Vec<IpAddr>,
    /// Addresses in its namespace, including those of further interfaces.
    inside: Vec<IpAddr>,
    /// The host's ends of its interfaces.
    links: Vec<u32>,
    host_network: bool,
    netns: Option<String>,
    pid: Option<u32>,
}

/// The verbose part of a status, in containerd's and CRI-O's form.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    pid: u32,
    runtime_spec: Option<Spec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    linux: Option<Linux>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Linux {
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Namespace {
    r#type: String,
    path: String,
}

impl Detail {
    pub(super) fn read(answer: &PodSandboxStatusResponse) -> Self {
        let Some(status) = &answer.status else {
            return Self::default();
        };
        let network = status.network.as_ref();
        let primary = network.map(|network| network.ip.as_str());
        let others = network.into_iter().flat_map(|n| &n.additional_ips);
        let options = status
            .linux
            .as_ref()
            .and_then(|linux| linux.namespaces.as_ref()?.options.as_ref());
        // Its non-standard information is used if it is understood.
        let info: Info = answer
            .info
            .get("info")
            .and_then(|info| serde_json::from_str(info).ok())
            .unwrap_or_default();
        let namespaces = info
            .runtime_spec
            .and_then(|spec| spec.linux)
            .unwrap_or_default()
            .namespaces;
        Self {
            addresses: primary
                .into_iter()
                .chain(others.map(|other| other.ip.as_str()))
                .filter_map(|ip| ip.parse().ok())
                .take(MAX_ADDRESSES)
                .collect(),
            host_network: options.is_some_and(|o| o.network() == NamespaceMode::Node),
            netns: namespaces
                .into_iter()
                .find(|namespace| namespace.r#type == "network" && !namespace.path.is_empty())
                .map(|namespace| namespace.path),
            pid: Some(info.pid).filter(|pid| *pid != 0),
            ..Self::default()
        }
    }

    /// Adds what was found in the namespace, if that is the pod's: a path or a process id from
    /// another namespace's view may lead to a different one.
    pub(super) fn found(&mut self, addresses: Option<Vec<IpAddr>>, links: Vec<u32>) {
        let inside = addresses.unwrap_or_default();
        let is_its_own = self.addresses.iter().any(|ip| inside.contains(ip));
        if is_its_own || self.addresses.is_empty() && !links.is_empty() {
            self.inside = inside;
            self.links = links;
        }
    }

    /// The host's ends of its interfaces.
    pub(super) fn links(&self) -> &[u32] {
        &self.links
    }

    /// Whether there is nothing left to find out.
    pub(super) fn complete(&self) -> bool {
        self.host_network || (!self.addresses.is_empty() && !self.links.is_empty())
    }

    /// The namespace, if it can be reached from here: by its path, which may belong to another
    /// mount namespace, or by its process, which may belong to another PID namespace.
    pub(super) fn open(&self) -> Option<File> {
        if self.host_network {
            return None;
        }
        let by_path = self.netns.as_ref().and_then(|path| File::open(path).ok());
        by_path.or_else(|| File::open(format!("/proc/{}/ns/net", self.pid?)).ok())
    }
}

/// The entry of a sandbox; `None` if it has no name. `given` says to which sandbox the runtime
/// assigned an address. Otherwise, a pod that may configure its own namespace could get another's
/// name by using its address.
pub(super) fn entry(
    sandbox: &PodSandbox,
    detail: &Detail,
    containers: &[String],
    given: &HashMap<IpAddr, &str>,
) -> Option<Entry> {
    let metadata = sandbox.metadata.as_ref()?;
    if metadata.name.is_empty() {
        return None;
    }
    let sorted = |map: &std::collections::HashMap<String, String>| -> BTreeMap<_, _> {
        map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let all_labels = sorted(&sandbox.labels);
    let annotations = sorted(&sandbox.annotations);
    let created = u64::try_from(sandbox.created_at).ok().filter(|at| *at != 0);
    let seconds = created.map(|nanoseconds| nanoseconds / 1_000_000_000);
    let pod = clean(&metadata.name);
    let (kind, name) = match owner::from_labels(&pod, &all_labels, seconds) {
        Some(owner) => (owner.kind, owner.name),
        None => ("pod".into(), pod.clone()),
    };
    let whose = format!("pod {}/{}", metadata.namespace, metadata.name);
    let addresses = if detail.host_network {
        Vec::new()
    } else {
        let mut addresses = detail.addresses.clone();
        for ip in detail.inside.iter().take(MAX_ADDRESSES) {
            let of_another = given.get(ip).is_some_and(|id| *id != sandbox.id);
            if !of_another && !addresses.contains(ip) {
                addresses.push(*ip);
            }
        }
        addresses
    };
    Some(Entry {
        workload: Workload {
            name,
            namespace: clean(&metadata.namespace),
            kind,
            pod: Some(pod),
            ..Workload::default()
        },
        addresses,
        links: detail.links.clone(),
        since: created,
        uid: clean(&metadata.uid),
        facts: Facts {
            labels: labels(&all_labels),
            node: None,
            host_network: detail.host_network,
            mesh: mesh::of(&Signs {
                labels: &all_labels,
                annotations: &annotations,
                namespace: None,
                containers: Some(containers),
            }),
            inbound: inbound::annotated(&annotations, &whose)
                .into_iter()
                .collect(),
        },
        ..Entry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::cri::runtime_v1::{
        LinuxPodSandboxStatus, Namespace, NamespaceOption, PodIp, PodSandboxMetadata,
        PodSandboxNetworkStatus, PodSandboxStatus,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn answer(info: &str, mode: NamespaceMode) -> PodSandboxStatusResponse {
        PodSandboxStatusResponse {
            status: Some(PodSandboxStatus {
                network: Some(PodSandboxNetworkStatus {
                    ip: "10.0.0.1".into(),
                    additional_ips: vec![
                        PodIp {
                            ip: "fd00::1".into(),
                        },
                        PodIp { ip: "x".into() },
                    ],
                }),
                linux: Some(LinuxPodSandboxStatus {
                    namespaces: Some(Namespace {
                        options: Some(NamespaceOption {
                            network: mode.into(),
                        }),
                    }),
                }),
                ..PodSandboxStatus::default()
            }),
            info: [("info".to_string(), info.to_string())].into(),
        }
    }

    fn sandbox(name: &str, labels: &[(&str, &str)]) -> PodSandbox {
        PodSandbox {
            id: name.into(),
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                namespace: "shop".into(),
                uid: "u1".into(),
                attempt: 0,
            }),
            created_at: 1_700_000_000_000_000_000,
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            ..PodSandbox::default()
        }
    }

    #[test]
    fn a_verbose_status_is_read_for_what_the_standard_lacks() {
        let info = r#"{"pid": 42, "runtimeSpec": {"linux": {"namespaces": [
            {"type": "pid"}, {"type": "network", "path": "/var/run/netns/cni-1"}]}}}"#;
        let detail = Detail::read(&answer(info, NamespaceMode::Pod));
        assert_eq!(detail.addresses, [ip("10.0.0.1"), ip("fd00::1")]);
        assert_eq!(detail.netns.as_deref(), Some("/var/run/netns/cni-1"));
        assert_eq!(detail.pid, Some(42));
        for nonsense in ["", "[]", r#"{"pid": "x"}"#, r#"{"runtimeSpec": 7}"#] {
            let detail = Detail::read(&answer(nonsense, NamespaceMode::Pod));
            assert_eq!(detail.addresses.len(), 2, "{nonsense}");
            assert!(detail.open().is_none());
        }
    }

    #[test]
    fn a_namespace_without_the_pods_address_is_not_the_pods() {
        let mut detail = Detail::read(&answer("", NamespaceMode::Pod));
        detail.found(Some(vec![ip("192.168.0.1")]), vec![2]);
        assert!(detail.links.is_empty() && detail.inside.is_empty());
        detail.found(Some(vec![ip("10.0.0.1"), ip("10.9.0.1")]), vec![7, 8]);
        let entry = entry(&sandbox("web", &[]), &detail, &[], &HashMap::new()).unwrap();
        assert_eq!(
            entry.addresses,
            [ip("10.0.0.1"), ip("fd00::1"), ip("10.9.0.1")]
        );
        assert_eq!(entry.links, [7, 8]);
    }

    #[test]
    fn a_pod_cannot_take_anothers_address() {
        let mut detail = Detail::read(&answer("", NamespaceMode::Pod));
        detail.found(Some(vec![ip("10.0.0.1"), ip("10.0.0.2")]), vec![7]);
        let given = [(ip("10.0.0.1"), "web"), (ip("10.0.0.2"), "victim")].into();
        let entry = entry(&sandbox("web", &[]), &detail, &[], &given).unwrap();
        assert_eq!(entry.addresses, [ip("10.0.0.1"), ip("fd00::1")]);
    }

    #[test]
    fn labels_and_containers_tell_the_workload_and_its_mesh() {
        let hash = [("pod-template-hash", "7d9c"), ("app", "web")];
        let detail = Detail::read(&answer("", NamespaceMode::Node));
        let containers = ["web".to_string(), "istio-proxy".to_string()];
        let entry = entry(
            &sandbox("web-7d9c-x2x4z", &hash),
            &detail,
            &containers,
            &HashMap::new(),
        )
        .unwrap();
        assert_eq!(entry.workload.name, "web");
        assert_eq!(entry.workload.kind, "deployment");
        assert_eq!(
            entry.facts.mesh.as_ref().map(|mesh| mesh.name),
            Some("istio")
        );
        assert!(entry.facts.host_network);
        assert!(entry.addresses.is_empty(), "they are the node's");
        assert!(super::entry(&PodSandbox::default(), &detail, &[], &HashMap::new()).is_none());
    }
}
