//! Converts a pod from the API to entries of the directory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::object::{Kind, Meta, of_meshes};
use super::policy::{Policies, Subject};
use crate::pods::entry::{Entry, Facts, clean, labels};
use crate::pods::inbound::{self, Inbound};
use crate::pods::mesh::{self, Mesh, Scope, Signs};
use crate::pods::owner;
use mtls_core::record::Workload;

/// Most ports per pod, whether for shared node addresses or for their names.
const MAX_PORTS: usize = 64;
/// Most labels kept per pod for selectors.
const MAX_LABELS: usize = 256;

/// A pod, as far as the directory needs it.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    /// The pod itself and, if it has ports on its node, an entry for these.
    entries: Vec<Arc<Entry>>,
    /// The data from which, together with its namespace, its mesh and the expectations of
    /// connections to it are derived. All labels are kept, because policies can select by any.
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    containers: Vec<String>,
    /// Its containers' named ports, which policies may refer to.
    ports: Vec<(String, u16)>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Container {
    name: String,
    ports: Vec<Port>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Port {
    name: String,
    #[serde(rename = "containerPort")]
    container: u16,
    #[serde(rename = "hostPort")]
    host: u16,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodIp {
    ip: String,
}

/// The workload of a pod, from its metadata alone; `None` if it is not a pod.
pub fn workload(pod: Value) -> Option<Workload> {
    let object: Object = serde_json::from_value(pod).ok()?;
    (!object.metadata.name.is_empty()).then(|| object.entry().workload)
}

impl Kind for Pod {
    const KIND: &'static str = "Pod";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "pods";

    fn read(object: Value) -> Option<Self> {
        let object: Object = serde_json::from_value(object).ok()?;
        let entries = object.entries();
        let ports = object.spec.containers.iter().flat_map(|c| &c.ports);
        let ports = ports.filter(|port| !port.name.is_empty());
        let ports = ports.map(|port| (port.name.clone(), port.container));
        let ports = ports.take(MAX_PORTS).collect();
        let containers = object.spec.init_containers.into_iter();
        Some(Self {
            entries,
            labels: object
                .metadata
                .labels
                .into_iter()
                .take(MAX_LABELS)
                .collect(),
            ports,
            annotations: of_meshes(object.metadata.annotations),
            containers: containers
                .chain(object.spec.containers)
                .map(|container| container.name)
                .filter(|name| mesh::is_proxy(name))
                .collect(),
        })
    }
}

impl Object {
    fn entries(&self) -> Vec<Arc<Entry>> {
        // A pod that has ended has released its address, although it is still listed with it.
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let first = self.status.pod_ip.iter().map(String::as_str);
        let all = self.status.pod_ips.iter().map(|ip| ip.ip.as_str());
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in first.chain(all).filter_map(|ip| ip.parse().ok()) {
            if !ended && !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        let ports = |of: fn(&Port) -> u16| -> Vec<u16> {
            let ports = self.spec.containers.iter().flat_map(|c| &c.ports);
            ports
                .map(of)
                .filter(|port| *port != 0)
                .take(MAX_PORTS)
                .collect()
        };
        let mut entry = self.entry();
        if self.spec.host_network {
            // Its addresses are the node's: only its ports are its own, if it lists them.
            entry.ports = ports(|port| port.container);
            if !entry.ports.is_empty() {
                entry.addresses = addresses;
            }
            return vec![Arc::new(entry)];
        }
        let forwarded = Entry {
            addresses: self
                .status
                .host_ip
                .iter()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
            ports: ports(|port| port.host),
            ..entry.clone()
        };
        entry.addresses = addresses;
        if forwarded.ports.is_empty() || ended {
            vec![Arc::new(entry)]
        } else {
            vec![Arc::new(entry), Arc::new(forwarded)]
        }
    }

    fn entry(&self) -> Entry {
        let meta = &self.metadata;
        let pod = clean(&meta.name);
        let created = meta.created();
        let controller = meta.owner_references.iter().find(|owner| owner.controller);
        let owner = controller.and_then(|owner| {
            owner::from_reference(&owner.kind, &owner.name, &meta.labels, created)
        });
        let (kind, name) = match owner {
            Some(owner) => (owner.kind, owner.name),
            None => ("pod".into(), pod.clone()),
        };
        // The runtime identifies a static pod by its manifest's hash, not by its mirror pod's id.
        let uid = meta.annotations.get("kubernetes.io/config.hash");
        Entry {
            workload: Workload {
                name,
                namespace: clean(&meta.namespace),
                kind,
                pod: Some(pod),
                service_account: self.spec.service_account_name.as_deref().map(clean),
                stale: None,
            },
            uid: clean(uid.unwrap_or(&meta.uid)),
            facts: Facts {
                labels: labels(&meta.labels),
                node: self.spec.node_name.as_deref().map(clean),
                host_network: self.spec.host_network,
                ..Facts::default()
            },
            ..Entry::default()
        }
    }
}

impl Pod {
    pub(super) fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        self.entries.iter().cloned()
    }

    pub(super) fn namespace(&self) -> &str {
        self.entries
            .first()
            .map_or("", |entry| &entry.workload.namespace)
    }

    /// The mesh that it is in, or should be.
    pub(super) fn mesh(&self) -> Option<&Mesh> {
        self.entries.first()?.facts.mesh.as_ref()
    }

    /// Determines the pod's mesh and the expectations of connections to it; returns whether
    /// anything changed.
    pub(super) fn join(&mut self, namespace: Option<&Scope>, policies: &Policies) -> bool {
        let mesh = mesh::of(&Signs {
            labels: &self.labels,
            annotations: &self.annotations,
            namespace,
            containers: Some(&self.containers),
        });
        let inbound = self.inbound(namespace, mesh.as_ref(), policies);
        let mut changed = false;
        for entry in &mut self.entries {
            if entry.facts.mesh != mesh || entry.facts.inbound != inbound {
                let facts = &mut Arc::make_mut(entry).facts;
                facts.mesh.clone_from(&mesh);
                facts.inbound.clone_from(&inbound);
                changed = true;
            }
        }
        changed
    }

    /// The operator's annotations come before the mesh's policies, the pod's before its
    /// namespace's.
    fn inbound(
        &self,
        namespace: Option<&Scope>,
        mesh: Option<&Mesh>,
        policies: &Policies,
    ) -> Inbound {
        let title = self.entries.first().map(|entry| entry.title());
        let own = format!("pod {}", title.unwrap_or_default());
        let own = inbound::annotated(&self.annotations, &own);
        let shared = namespace.and_then(|scope| {
            let whose = format!("namespace {}", self.namespace());
            inbound::annotated(&scope.annotations, &whose)
        });
        let subject = Subject {
            namespace: self.namespace(),
            labels: &self.labels,
            annotations: &self.annotations,
            scope: namespace,
            ports: &self.ports,
        };
        let policies = mesh.map(|mesh| policies.of(&subject, mesh));
        let annotated = [own, shared].into_iter().flatten();
        annotated.chain(policies.into_iter().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::mesh::Membership;
    use serde_json::json;

    fn read(object: Value) -> Vec<Entry> {
        let pod = Pod::read(object).unwrap();
        pod.entries().map(Arc::unwrap_or_clone).collect()
    }

    fn web() -> Value {
        json!({
            "metadata": {
                "name": "web-7d9c-x2x4z", "namespace": "shop", "uid": "u1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": "web", "pod-template-hash": "7d9c"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7d9c", "controller": true}],
            },
            "spec": {"nodeName": "n1", "serviceAccountName": "web-sa", "containers": [
                {"name": "web", "ports": [{"containerPort": 8080, "hostPort": 80}]},
                {"name": "linkerd-proxy"},
            ]},
            "status": {"phase": "Running", "hostIP": "192.168.0.1", "podIP": "10.0.0.5",
                "podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]},
        })
    }

    #[test]
    fn a_pod_has_its_owner_and_its_account() {
        let entries = read(web());
        let workload = &entries[0].workload;
        assert_eq!(
            (workload.kind.as_str(), &*workload.name),
            ("deployment", "web")
        );
        assert_eq!(workload.pod.as_deref(), Some("web-7d9c-x2x4z"));
        assert_eq!(workload.service_account.as_deref(), Some("web-sa"));
        assert_eq!(entries[0].addresses.len(), 2);
        assert_eq!(entries[0].facts.labels, [("app".into(), "web".into())]);
        assert_eq!(entries[1].ports, [80]);
        assert_eq!(
            entries[1].addresses,
            ["192.168.0.1".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn one_that_has_ended_has_no_address() {
        let mut object = web();
        object["status"]["phase"] = "Succeeded".into();
        let entries = read(object);
        assert_eq!(entries.len(), 1);
        assert!(entries[0].addresses.is_empty());
    }

    #[test]
    fn one_on_the_hosts_network_has_only_its_ports() {
        let mut object = web();
        object["spec"]["hostNetwork"] = true.into();
        object["status"]["podIPs"] = json!([{"ip": "192.168.0.1"}]);
        object["status"]["podIP"] = "192.168.0.1".into();
        let entries = read(object.clone());
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].ports, [8080]);
        assert!(entries[0].facts.host_network);
        object["spec"]["containers"] = json!([{"name": "quiet"}]);
        assert!(read(object)[0].addresses.is_empty());
    }

    #[test]
    fn its_mesh_follows_its_namespace() {
        let mut pod = Pod::read(web()).unwrap();
        assert!(pod.join(None, &Policies::default()));
        let mesh = pod.entries().next().unwrap().facts.mesh.clone().unwrap();
        assert_eq!(
            (mesh.name, mesh.membership),
            ("linkerd", Membership::Sidecar)
        );
        assert!(!pod.join(None, &Policies::default()), "nothing new");
    }

    #[test]
    fn nonsense_is_no_pod_and_no_panic() {
        assert!(Pod::read(json!({"metadata": {"name": 7}})).is_none());
        assert!(Pod::read(json!({"metadata": {"name": "a", "labels": [1]}})).is_none());
        assert!(
            Pod::read(json!({"metadata": {"name": "a"}, "spec": {"containers": [
            {"name": "a", "ports": [{"containerPort": 70_000}]}]}}))
            .is_none()
        );
        let odd = read(json!({"metadata": {"name": "a\u{1b}"}, "status": {"podIP": "x"}}));
        assert_eq!(odd[0].workload.name, "a\u{fffd}");
        assert!(odd[0].addresses.is_empty());
    }
}
