//! Converts Services and their endpoints to entries of the directory.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use smol_str::SmolStr;

use super::object::{Kind, Meta};
use crate::pods::entry::{ANY, Entry, Facts, clean};
use mtls_core::record::{self, Workload};

/// Most ports per Service, and per slice.
const MAX_PORTS: usize = 128;

/// A Service: its own addresses, and its ports at shared addresses.
#[derive(Clone, Debug)]
pub(super) struct Service(pub(super) Vec<Arc<Entry>>);

/// A part of a Service's endpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Slice {
    /// The ports at which they serve it.
    pub(super) served: Option<Arc<Entry>>,
    /// The Service, as `NAMESPACE/NAME`.
    pub(super) service: String,
    /// The node and the addresses of each endpoint.
    endpoints: Vec<(SmolStr, Vec<IpAddr>)>,
}

impl Slice {
    /// The nodes of the endpoints, each with its addresses. Use it only for a Service whose pods
    /// use the host network, which cannot be checked here. `own` is omitted.
    pub(super) fn nodes(&self, own: Option<&str>) -> impl Iterator<Item = Arc<Entry>> {
        let others = self
            .endpoints
            .iter()
            .filter(move |(node, _)| Some(&**node) != own);
        others.map(|(node, addresses)| {
            Arc::new(Entry {
                workload: Workload {
                    name: node.clone(),
                    kind: record::Kind::Node.into(),
                    ..Workload::default()
                },
                addresses: addresses.clone(),
                facts: Facts {
                    node: Some(node.clone()),
                    ..Facts::default()
                },
                ..Entry::default()
            })
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceObject {
    metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    external_ips: Vec<String>,
    ports: Vec<Port>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Port {
    port: u16,
    node_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: LoadBalancer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LoadBalancer {
    ingress: Vec<Ingress>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ingress {
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SliceObject {
    metadata: Meta,
    endpoints: Vec<Endpoint>,
    ports: Option<Vec<SlicePort>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<String>,
    node_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SlicePort {
    port: Option<u16>,
}

fn entry(namespace: &str, name: &str) -> Entry {
    Entry {
        workload: Workload {
            name: clean(name),
            namespace: clean(namespace),
            kind: "service".into(),
            ..Workload::default()
        },
        ..Entry::default()
    }
}

/// Valid addresses only: a headless Service has `None`, and a slice may contain host names.
fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = texts.into_iter().filter_map(|ip| ip.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl Kind for Service {
    const KIND: &'static str = "Service";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "services";

    fn read(object: Value) -> Option<Self> {
        let object: ServiceObject = serde_json::from_value(object).ok()?;
        let base = entry(&object.metadata.namespace, &object.metadata.name);
        let ports = |of: fn(&Port) -> u16| -> Vec<u16> {
            let ports = object.spec.ports.iter().take(MAX_PORTS);
            ports.map(of).filter(|port| *port != 0).collect()
        };
        let own = Entry {
            addresses: addresses(
                std::iter::once(&object.spec.cluster_ip).chain(&object.spec.cluster_ips),
            ),
            ..base.clone()
        };
        let ingress = object.status.load_balancer.ingress.iter().map(|i| &i.ip);
        // Several Services may share such an address.
        let shared = Entry {
            addresses: addresses(object.spec.external_ips.iter().chain(ingress)),
            ports: ports(|port| port.port),
            ..base.clone()
        };
        let on_nodes = Entry {
            addresses: vec![ANY],
            ports: ports(|port| port.node_port),
            ..base
        };
        let mut entries = vec![Arc::new(own)];
        for part in [shared, on_nodes] {
            if !part.ports.is_empty() && !part.addresses.is_empty() {
                entries.push(Arc::new(part));
            }
        }
        Some(Self(entries))
    }
}

impl Kind for Slice {
    const KIND: &'static str = "EndpointSlice";
    const GROUP: &'static str = "discovery.k8s.io";
    const PLURAL: &'static str = "endpointslices";

    fn read(object: Value) -> Option<Self> {
        let object: SliceObject = serde_json::from_value(object).ok()?;
        // A slice without a Service has no name.
        let Some(service) = object.metadata.labels.get("kubernetes.io/service-name") else {
            return Some(Self::default());
        };
        let ports = object.ports.unwrap_or_default();
        let part = Entry {
            addresses: addresses(object.endpoints.iter().flat_map(|e| &e.addresses)),
            ports: ports
                .iter()
                .filter_map(|port| port.port)
                .take(MAX_PORTS)
                .collect(),
            ..entry(&object.metadata.namespace, service)
        };
        let whole = !part.ports.is_empty() && !part.addresses.is_empty();
        let endpoints = object.endpoints.iter().filter_map(|endpoint| {
            let node = clean(endpoint.node_name.as_deref()?);
            Some((node, addresses(&endpoint.addresses)))
        });
        Some(Self {
            service: format!("{}/{service}", object.metadata.namespace),
            endpoints: endpoints.collect(),
            served: whole.then(|| Arc::new(part)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_at_its_own_addresses_and_at_ports_of_shared_ones() {
        let service = Service::read(json!({
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:96::a"],
                "externalIPs": ["203.0.113.9"],
                "ports": [{"port": 5432, "nodePort": 30_432}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}, {"hostname": "x"}]}},
        }))
        .unwrap();
        let [own, shared, nodes] = &service.0[..] else {
            panic!("{service:?}");
        };
        assert_eq!((own.addresses.len(), own.ports.len()), (2, 0));
        assert_eq!(
            (shared.addresses.len(), &shared.ports[..]),
            (2, &[5432][..])
        );
        assert_eq!(
            (&nodes.addresses[..], &nodes.ports[..]),
            (&[ANY][..], &[30_432][..])
        );
        assert_eq!(own.workload.kind, "service");
    }

    #[test]
    fn a_headless_service_has_no_address_but_its_endpoints_have_its_name() {
        let headless = Service::read(json!({
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"clusterIP": "None", "ports": [{"port": 5432}]},
        }))
        .unwrap();
        assert!(headless.0[0].addresses.is_empty());
        let slice = Slice::read(json!({
            "metadata": {"name": "db-x1", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "db"}},
            "endpoints": [{"addresses": ["10.1.0.1"]}, {"addresses": ["db.example.org"]}],
            "ports": [{"port": 5432}],
        }))
        .unwrap();
        let served = slice.served.unwrap();
        assert_eq!(served.workload.name, "db");
        assert_eq!(served.addresses.len(), 1);
    }

    #[test]
    fn other_nodes_get_their_names_by_the_endpoints_on_them() {
        let slice = Slice::read(json!({
            "metadata": {"name": "mtls-x1", "namespace": "mtls",
                "labels": {"kubernetes.io/service-name": "mtls"}},
            "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "one"},
                {"addresses": ["10.0.0.2"], "nodeName": "two"}, {"addresses": ["10.0.0.3"]}],
        }))
        .unwrap();
        assert_eq!(slice.service, "mtls/mtls");
        assert!(slice.served.is_none());
        let others: Vec<_> = slice.nodes(Some("one")).collect();
        let [two] = &others[..] else {
            panic!("{others:?}");
        };
        assert_eq!(
            (&*two.workload.name, two.workload.kind.as_str()),
            ("two", "node")
        );
        assert_eq!(two.addresses, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        // Their requests are not probes: a kubelet probes only the pods of its own node.
        assert!(two.is_node() && !two.is_this_node());
    }
}
