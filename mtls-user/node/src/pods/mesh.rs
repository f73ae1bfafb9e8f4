//! Whether a pod belongs to a mesh, from what the injector leaves on it.

use std::collections::BTreeMap;

use mtls_core::mesh::{self as known, Sidecar};

/// Most port ranges parsed from one annotation.
const MAX_RANGES: usize = 64;

/// A pod's membership in a mesh.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mesh {
    /// Its name.
    pub name: &'static str,
    /// The kind of membership.
    pub membership: Membership,
    /// Ports whose incoming connections bypass the proxy.
    pub skip_inbound: Ports,
    /// Ports whose outgoing connections bypass the proxy.
    pub skip_outbound: Ports,
    /// Ports whose protocol the proxy does not inspect.
    pub opaque: Ports,
}

/// How a pod is a member of its mesh.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Membership {
    /// Through a proxy among its containers.
    Sidecar,
    /// Through the node's proxy.
    Ambient,
    /// Its labels, or its namespace's, request a proxy that it does not have: it was created before
    /// them, or the injector was not available.
    Requested,
}

/// Ranges of ports, inclusive.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ports(Box<[(u16, u16)]>);

impl Ports {
    /// Parses `25,4190-4191,…`; `*` means all. Invalid ports are skipped.
    fn read(text: &str) -> Self {
        text.split(',')
            .filter_map(|part| {
                let part = part.trim();
                if part == "*" {
                    return Some((0, u16::MAX));
                }
                let (low, high) = part.split_once('-').unwrap_or((part, part));
                Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
            })
            .take(MAX_RANGES)
            .collect::<Vec<_>>()
            .into_boxed_slice()
            .into()
    }

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&port))
    }
}

impl From<Box<[(u16, u16)]>> for Ports {
    fn from(ranges: Box<[(u16, u16)]>) -> Self {
        Self(ranges)
    }
}

/// The objects on which a mesh leaves its marks.
pub(super) struct Signs<'a> {
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) annotations: &'a BTreeMap<String, String>,
    /// The namespace's, if known.
    pub(super) namespace: Option<&'a Scope>,
    /// Names of all containers, including init containers; `None` if unknown.
    pub(super) containers: Option<&'a [String]>,
}

/// Labels and annotations of a namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Scope {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Whether a label or an annotation may have been written by a mesh, or by its operator for us.
pub(super) fn is_mark(key: &str) -> bool {
    let of_mesh = known::Mesh::with_sidecars()
        .flat_map(|(_, sidecar)| sidecar.domains)
        .any(|domain| key.contains(domain));
    of_mesh || key == super::inbound::EXPECT
}

/// Whether a container with that name is a mesh's proxy.
pub(super) fn is_proxy(container: &str) -> bool {
    known::Mesh::with_sidecars().any(|(_, sidecar)| sidecar.containers.contains(&container))
}

/// The mesh of a pod, if it is in one.
pub(super) fn of(signs: &Signs<'_>) -> Option<Mesh> {
    let mut meshes = known::Mesh::with_sidecars();
    if let Some((mesh, sidecar)) = meshes.find(|(_, sidecar)| injected(sidecar, signs)) {
        return Some(member(mesh.name, sidecar, signs, Membership::Sidecar));
    }
    if ambient(signs) {
        return Some(Mesh {
            name: "istio",
            membership: Membership::Ambient,
            skip_inbound: Ports::default(),
            skip_outbound: Ports::default(),
            opaque: Ports::default(),
        });
    }
    known::Mesh::with_sidecars()
        .find(|(_, sidecar)| requested(sidecar, signs))
        .map(|(mesh, sidecar)| member(mesh.name, sidecar, signs, Membership::Requested))
}

/// `istio.io/dataplane-mode`; the pod's comes before that of its namespace.
fn ambient(signs: &Signs<'_>) -> bool {
    const MODE: &str = "istio.io/dataplane-mode";
    let redirected = signs.annotations.get("ambient.istio.io/redirection");
    let namespace = signs.namespace.and_then(|scope| scope.labels.get(MODE));
    let mode = signs.labels.get(MODE).or(namespace);
    redirected.is_some_and(|value| value == "enabled") || mode.is_some_and(|mode| mode == "ambient")
}

fn injected(sidecar: &Sidecar, signs: &Signs<'_>) -> bool {
    match signs.containers {
        // Marks without the container were copied from elsewhere.
        Some(containers) => containers
            .iter()
            .any(|name| sidecar.containers.contains(&name.as_str())),
        None => sidecar
            .marks
            .iter()
            .any(|mark| signs.annotations.contains_key(*mark)),
    }
}

fn requested(sidecar: &Sidecar, signs: &Signs<'_>) -> bool {
    let asks = |labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>| {
        // The first that is set is used; `disabled` counts too.
        sidecar.requests.iter().find_map(|(key, values)| {
            let value = labels.get(*key).or_else(|| annotations.get(*key))?;
            Some(values.contains(&value.as_str()))
        })
    };
    asks(signs.labels, signs.annotations)
        .or_else(|| asks(&signs.namespace?.labels, &signs.namespace?.annotations))
        .unwrap_or(false)
}

fn member(
    name: &'static str,
    sidecar: &Sidecar,
    signs: &Signs<'_>,
    membership: Membership,
) -> Mesh {
    let ports = |key: &str| {
        let namespace = signs.namespace.and_then(|scope| scope.annotations.get(key));
        let text = signs.annotations.get(key).or(namespace);
        text.map(|text| Ports::read(text)).unwrap_or_default()
    };
    Mesh {
        name,
        membership,
        skip_inbound: ports(sidecar.skip_inbound),
        skip_outbound: ports(sidecar.skip_outbound),
        opaque: ports(sidecar.opaque),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn membership(
        annotations: &[(&str, &str)],
        namespace: &[(&str, &str)],
        containers: Option<&[&str]>,
    ) -> Option<(&'static str, Membership)> {
        let containers = containers.map(|c| c.iter().map(ToString::to_string).collect::<Vec<_>>());
        let scope = Scope {
            labels: map(namespace),
            annotations: map(namespace),
        };
        of(&Signs {
            labels: &map(&[]),
            annotations: &map(annotations),
            namespace: Some(&scope),
            containers: containers.as_deref(),
        })
        .map(|mesh| (mesh.name, mesh.membership))
    }

    #[test]
    fn a_proxy_among_the_containers_is_what_counts() {
        assert_eq!(
            membership(&[], &[], Some(&["app", "linkerd-proxy"])),
            Some(("linkerd", Membership::Sidecar))
        );
        assert_eq!(
            membership(&[], &[("istio-injection", "enabled")], Some(&["app"])),
            Some(("istio", Membership::Requested))
        );
        assert_eq!(
            membership(&[("sidecar.istio.io/status", "{}")], &[], Some(&["app"])),
            None,
            "a mark is no proxy"
        );
        assert_eq!(
            membership(&[("sidecar.istio.io/status", "{}")], &[], None),
            Some(("istio", Membership::Sidecar)),
            "but all there is where containers are not known"
        );
        assert_eq!(membership(&[], &[], Some(&["app"])), None);
    }

    #[test]
    fn a_pod_overrules_its_namespace() {
        let namespace = [("linkerd.io/inject", "enabled")];
        let pod = [("linkerd.io/inject", "disabled")];
        assert_eq!(
            membership(&[], &namespace, Some(&["app"])),
            Some(("linkerd", Membership::Requested))
        );
        assert_eq!(membership(&pod, &namespace, Some(&["app"])), None);
    }

    #[test]
    fn ambient_is_of_the_namespace() {
        let namespace = [("istio.io/dataplane-mode", "ambient")];
        assert_eq!(
            membership(&[], &namespace, Some(&["app"])),
            Some(("istio", Membership::Ambient))
        );
    }

    #[test]
    fn ports_are_read_leniently() {
        let ports = Ports::read("25, 4190-4191,x,70000,9-,443");
        assert!(ports.contains(25) && ports.contains(4191) && ports.contains(443));
        assert!(!ports.contains(26) && !ports.contains(9));
        assert!(Ports::read("*").contains(1));
        assert_eq!(Ports::read(&"1,".repeat(10_000)).0.len(), MAX_RANGES);
    }
}
