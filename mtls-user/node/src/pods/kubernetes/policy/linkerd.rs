//! Linkerd's policies: what the server's proxy accepts.
//!
//! A Server is a port of some pods. Its authorizations come from ServerAuthorizations,
//! AuthorizationPolicies and its own access policy; ports without a Server use the default policy
//! from the annotation of the pod or its namespace. The identities in a MeshTLSAuthentication do
//! not matter: every one requires mutual TLS, so only references to it are read. Policies of single
//! routes are not considered, because one connection can carry several.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::selector::Selector;
use super::{Policies, Subject};
use crate::pods::entry::clean;
use crate::pods::inbound::{By, Layer, Level, Rule};
use crate::pods::kubernetes::object::{Kind, Meta};

const GROUP: &str = "policy.linkerd.io";
/// The annotation with the policy of ports without a Server.
const DEFAULT_POLICY: &str = "config.linkerd.io/default-inbound-policy";
/// Most ports with Servers per pod.
const MAX_PORTS: usize = 64;

/// A port of some pods.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    meta: Named,
    pods: Option<Selector>,
    port: Port,
    access: Option<String>,
}

/// The needed part of an object's metadata.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Name(String),
}

/// Which clients Servers authorize.
#[derive(Clone, Debug)]
pub(crate) struct ServerAuthorization {
    server: ServerRef,
    /// What it requires of authorized clients; `None` if it authorizes nobody.
    level: Option<Level>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ServerRef {
    name: Option<String>,
    selector: Option<Selector>,
}

/// Which clients a Server, or a whole namespace, authorizes.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationPolicy {
    target: Target,
    level: Level,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Target {
    kind: String,
    name: String,
}

impl From<Meta> for Named {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            labels: meta.labels,
        }
    }
}

impl Kind for Server {
    const KIND: &'static str = "Server";
    const GROUP: &'static str = GROUP;
    const PLURAL: &'static str = "servers";
    const VERSIONS: &'static [&'static str] = &["v1beta3", "v1beta2", "v1beta1"];
    const IS_CUSTOM: bool = true;

    fn read(object: Value) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec {
            pod_selector: Option<Selector>,
            port: Port,
            access_policy: Option<String>,
        }
        #[derive(Deserialize)]
        struct Object {
            metadata: Meta,
            spec: Spec,
        }
        let Object { metadata, spec } = serde_json::from_value(object).ok()?;
        Some(Self {
            meta: metadata.into(),
            pods: spec.pod_selector,
            port: spec.port,
            access: spec.access_policy,
        })
    }
}

impl Kind for ServerAuthorization {
    const KIND: &'static str = "ServerAuthorization";
    const GROUP: &'static str = GROUP;
    const PLURAL: &'static str = "serverauthorizations";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
    const IS_CUSTOM: bool = true;

    fn read(object: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Object {
            spec: Spec,
        }
        #[derive(Deserialize)]
        struct Spec {
            server: ServerRef,
            client: Client,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Client {
            unauthenticated: bool,
            #[serde(rename = "meshTLS")]
            mesh_tls: Option<MeshTls>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct MeshTls {
            #[serde(rename = "unauthenticatedTLS")]
            unauthenticated_tls: bool,
        }
        let Object { spec } = serde_json::from_value(object).ok()?;
        let level = match spec.client {
            client if client.unauthenticated => Some(Level::Any),
            client => client.mesh_tls.map(|tls| {
                if tls.unauthenticated_tls {
                    Level::Tls
                } else {
                    Level::Mtls
                }
            }),
        };
        Some(Self {
            server: spec.server,
            level,
        })
    }
}

impl Kind for AuthorizationPolicy {
    const KIND: &'static str = "AuthorizationPolicy";
    const GROUP: &'static str = GROUP;
    const PLURAL: &'static str = "authorizationpolicies";
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];
    const IS_CUSTOM: bool = true;

    fn read(object: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Object {
            spec: Spec,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec {
            target_ref: Target,
            #[serde(default)]
            required_authentication_refs: Vec<Target>,
        }
        let Object { spec } = serde_json::from_value(object).ok()?;
        let demands_identity = |one: &Target| {
            matches!(
                one.kind.as_str(),
                "MeshTLSAuthentication" | "ServiceAccount"
            )
        };
        let mut required = spec.required_authentication_refs.iter();
        let level = if required.any(demands_identity) {
            Level::Mtls
        } else {
            // Only networks.
            Level::Any
        };
        Some(Self {
            target: spec.target_ref,
            level,
        })
    }
}

/// Their settings for connections to a pod.
pub(super) fn layers(all: &Policies, pod: &Subject<'_>) -> Vec<Layer> {
    let mut servers = Layer::default();
    for server in all.servers.of(pod.namespace) {
        let is_meant = |pods: &Selector| pods.matches(pod.labels);
        if !server.pods.as_ref().is_some_and(is_meant) {
            continue;
        }
        let rule = rule(
            server.level(all),
            &format_smolstr!("Server {}/{}", server.meta.namespace, server.meta.name),
        );
        let ports = server.port.numbers(pod).map(|port| (port, rule.clone()));
        let room = MAX_PORTS - servers.ports.len();
        servers.ports.extend(ports.take(room));
    }
    let by_pod = pod.annotations.get(DEFAULT_POLICY);
    let by_namespace = pod
        .scope
        .and_then(|scope| scope.annotations.get(DEFAULT_POLICY));
    let default = by_pod.or(by_namespace).and_then(|word| {
        let whose = format_smolstr!("{DEFAULT_POLICY}: {word}");
        Some(rule(access(word)?, &whose))
    });
    let default = Layer {
        whole: default,
        ports: Vec::new(),
    };
    vec![servers, default]
}

fn rule(level: Level, whose: &SmolStr) -> Rule {
    let what = match level {
        Level::Mtls => "lets in only who is authenticated by mutual TLS",
        Level::Tls => "lets in only TLS",
        Level::Any | Level::Plaintext => "lets in who is not authenticated",
    };
    Rule {
        level,
        by: By::Policy,
        words: clean(&format!("{whose} {what}")),
    }
}

/// What an access policy requires of authorized clients: if it authorizes nobody, no plaintext
/// should arrive. `None` for an unknown word.
fn access(word: &str) -> Option<Level> {
    match word {
        "all-authenticated" | "cluster-authenticated" | "deny" => Some(Level::Mtls),
        "all-unauthenticated" | "cluster-unauthenticated" | "audit" => Some(Level::Any),
        "all-tls-unauthenticated" => Some(Level::Tls),
        _ => None,
    }
}

impl Server {
    /// The least that is required of any authorized client.
    fn level(&self, all: &Policies) -> Level {
        let name = &self.meta.name;
        let direct = all.server_authorizations.of(&self.meta.namespace);
        let direct = direct.filter(|one| {
            let selector = one.server.selector.as_ref();
            one.server.name.as_ref() == Some(name)
                || selector.is_some_and(|selector| selector.matches(&self.meta.labels))
        });
        let policies = all.authorizations.of(&self.meta.namespace);
        let policies = policies.filter(|one| match one.target.kind.as_str() {
            "Server" => one.target.name == *name,
            "Namespace" => one.target.name == self.meta.namespace,
            _ => false,
        });
        direct
            .filter_map(|one| one.level)
            .chain(policies.map(|one| one.level))
            .chain(self.access.as_deref().and_then(access))
            .min()
            .unwrap_or(Level::Mtls)
    }
}

impl Port {
    fn numbers<'a>(&'a self, pod: &'a Subject<'_>) -> impl Iterator<Item = u16> + 'a {
        let (number, name) = match self {
            Self::Number(number) => (Some(*number), None),
            Self::Name(name) => (None, Some(name)),
        };
        let named = pod.ports.iter().filter(move |(of, _)| Some(of) == name);
        number.into_iter().chain(named.map(|(_, port)| *port))
    }
}

#[cfg(test)]
#[path = "linkerd_tests.rs"]
mod tests;
