//! Istio's PeerAuthentication: what the server's proxy accepts.
//!
//! The policy that selects a pod comes before its namespace's, and that before the one of the
//! mesh's root namespace; of two of one kind, the older one is used.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use smol_str::format_smolstr;

use super::Subject;
use super::selector::Selector;
use crate::pods::entry::clean;
use crate::pods::inbound::{By, Layer, Level, Rule};
use crate::pods::kubernetes::object::{Kind, Meta};
use crate::pods::kubernetes::objects::Objects;

/// The namespace of mesh-wide policies, unless the mesh is configured otherwise.
const ROOT: &str = "istio-system";
/// Most ports per policy.
const MAX_PORTS: usize = 64;

/// A PeerAuthentication.
#[derive(Clone, Debug)]
pub(crate) struct PeerAuthentication {
    name: String,
    namespace: String,
    created: Option<u64>,
    selector: Selector,
    mode: Mode,
    ports: Vec<(u16, Mode)>,
}

/// What is accepted.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    Strict,
    Permissive,
    Disable,
    /// The setting of the next wider policy.
    #[default]
    #[serde(other)]
    Unset,
}

#[derive(Deserialize)]
struct Object {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    selector: Selector,
    mtls: MutualTls,
    port_level_mtls: BTreeMap<String, MutualTls>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MutualTls {
    mode: Mode,
}

impl Kind for PeerAuthentication {
    const KIND: &'static str = "PeerAuthentication";
    const GROUP: &'static str = "security.istio.io";
    const PLURAL: &'static str = "peerauthentications";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const IS_CUSTOM: bool = true;

    fn read(object: Value) -> Option<Self> {
        let Object { metadata, spec } = serde_json::from_value(object).ok()?;
        let port = |(port, mtls): (String, MutualTls)| Some((port.parse().ok()?, mtls.mode));
        let ports = spec.port_level_mtls.into_iter().filter_map(port);
        Some(Self {
            created: metadata.created(),
            ports: ports.take(MAX_PORTS).collect(),
            name: metadata.name,
            namespace: metadata.namespace,
            selector: spec.selector,
            mode: spec.mtls.mode,
        })
    }
}

/// Their settings for connections to a pod, the most specific first.
pub(super) fn layers(
    all: &Objects<PeerAuthentication>,
    pod: &Subject<'_>,
    ambient: bool,
) -> Vec<Layer> {
    let oldest = |namespace: &str, selects: &dyn Fn(&Selector) -> bool| {
        let candidates = all.of(namespace).filter(|one| selects(&one.selector));
        candidates.min_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)))
    };
    let own = |selector: &Selector| !selector.is_empty() && selector.matches(pod.labels);
    let whole = |selector: &Selector| selector.is_empty();
    let workload = oldest(pod.namespace, &own).map(|one| one.layer(true, ambient));
    let namespace = oldest(pod.namespace, &whole).map(|one| one.layer(false, ambient));
    let mesh = (pod.namespace != ROOT)
        .then(|| oldest(ROOT, &whole))
        .flatten();
    let mesh = mesh.map(|one| one.layer(false, ambient));
    [workload, namespace, mesh].into_iter().flatten().collect()
}

impl PeerAuthentication {
    /// Only policies that select workloads distinguish ports.
    fn layer(&self, with_ports: bool, ambient: bool) -> Layer {
        let rule = |mode: Mode, of: &str| {
            let (level, word) = match mode {
                Mode::Strict => (Level::Mtls, "STRICT"),
                Mode::Permissive => (Level::Any, "PERMISSIVE"),
                // The node's proxy does not support this mode, and ignores it.
                Mode::Disable if ambient => return None,
                Mode::Disable => (Level::Plaintext, "DISABLE"),
                Mode::Unset => return None,
            };
            let (namespace, name) = (&self.namespace, &self.name);
            let words = format_smolstr!("PeerAuthentication {namespace}/{name} is {word}{of}");
            Some(Rule {
                level,
                by: By::Policy,
                words: clean(&words),
            })
        };
        let ports = self.ports.iter().filter(|_| with_ports);
        Layer {
            whole: rule(self.mode, ""),
            ports: ports
                .filter_map(|(port, mode)| Some((*port, rule(*mode, &format!(" for {port}"))?)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::inbound::Inbound;
    use crate::pods::kubernetes::change::Change;
    use serde_json::json;

    fn policy(
        namespace: &str,
        name: &str,
        year: u32,
        spec: &Value,
    ) -> (String, PeerAuthentication) {
        let object = json!({"metadata": {"name": name, "namespace": namespace,
            "creationTimestamp": format!("{year}-01-01T00:00:00Z")}, "spec": spec});
        let read = PeerAuthentication::read(object).unwrap();
        (format!("{namespace}/{name}"), read)
    }

    fn of(all: Vec<(String, PeerAuthentication)>, app: &str, ambient: bool) -> Inbound {
        let mut objects = Objects::default();
        objects.take(Change::All(all));
        let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let pod = Subject {
            namespace: "shop",
            labels: &labels,
            annotations: &BTreeMap::new(),
            scope: None,
            ports: &[],
        };
        layers(&objects, &pod, ambient).into_iter().collect()
    }

    fn mode(mode: &str) -> Value {
        json!({"mtls": {"mode": mode}})
    }

    fn some() -> Vec<(String, PeerAuthentication)> {
        let web = json!({"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "UNSET"},
            "portLevelMtls": {"9090": {"mode": "DISABLE"}, "9091": {"mode": "UNSET"}, "x": {}}});
        vec![
            policy("istio-system", "default", 2020, &mode("STRICT")),
            policy("shop", "default", 2022, &mode("PERMISSIVE")),
            policy("shop", "later", 2023, &mode("STRICT")),
            policy("shop", "web", 2024, &web),
            policy("shopping", "default", 2019, &mode("DISABLE")),
        ]
    }

    #[test]
    fn the_most_specific_decides_and_of_two_the_older() {
        let web = of(some(), "web", false);
        let rule = web.at(9090).unwrap();
        assert_eq!(rule.level, Level::Plaintext);
        assert_eq!(
            rule.words,
            "PeerAuthentication shop/web is DISABLE for 9090"
        );
        for port in [80, 9091] {
            let rule = web.at(port).unwrap();
            assert_eq!(rule.level, Level::Any, "{port}");
            assert_eq!(rule.words, "PeerAuthentication shop/default is PERMISSIVE");
        }
        assert_eq!(of(some(), "db", false).at(9090).unwrap().level, Level::Any);
        let mesh_alone = some().into_iter().take(1).collect();
        assert_eq!(
            of(mesh_alone, "db", false).at(1).unwrap().level,
            Level::Mtls
        );
        assert!(of(Vec::new(), "db", false).is_empty());
    }

    #[test]
    fn the_nodes_proxy_cannot_be_told_to_leave_mutual_tls() {
        assert_eq!(of(some(), "web", true).at(9090).unwrap().level, Level::Any);
    }

    #[test]
    fn a_mode_of_a_later_version_says_nothing() {
        let all = vec![policy("shop", "default", 2022, &mode("WHATEVER"))];
        assert!(of(all, "web", false).is_empty());
        assert!(PeerAuthentication::read(json!({"spec": {}})).is_none());
        assert!(PeerAuthentication::read(json!({"metadata": {"name": "a"}, "spec": 7})).is_none());
    }
}
