//! An end of a flow, as it is asked for on the command line.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use mtls_core::record::{Kind, Peer, Vocabulary as _};

/// Kubernetes' short names and plurals of kinds.
const KINDS: [(&str, Kind); 22] = [
    ("po", Kind::Pod),
    ("pods", Kind::Pod),
    ("deploy", Kind::Deployment),
    ("deployments", Kind::Deployment),
    ("sts", Kind::StatefulSet),
    ("statefulsets", Kind::StatefulSet),
    ("ds", Kind::DaemonSet),
    ("daemonsets", Kind::DaemonSet),
    ("rs", Kind::ReplicaSet),
    ("replicasets", Kind::ReplicaSet),
    ("jobs", Kind::Job),
    ("cj", Kind::CronJob),
    ("cronjobs", Kind::CronJob),
    ("svc", Kind::Service),
    ("services", Kind::Service),
    ("no", Kind::Node),
    ("nodes", Kind::Node),
    ("deploy.apps", Kind::Deployment),
    ("deployment.apps", Kind::Deployment),
    ("statefulset.apps", Kind::StatefulSet),
    ("daemonset.apps", Kind::DaemonSet),
    ("cronjob.batch", Kind::CronJob),
];

/// What an end may be.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum End {
    /// Anything in a namespace.
    Namespace(String),
    /// A workload, by its kind where that was said.
    Workload {
        /// Its namespace; any, where none was said.
        namespace: Option<String>,
        /// Its kind; any, where none was said.
        kind: Option<Kind>,
        /// Its name.
        name: String,
    },
    /// Any of this kind: `node`, `external`, `unknown`.
    Any(Kind),
    /// An address, or all of a network.
    Network(IpNet),
}

impl End {
    /// The namespace that was named.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespace(name) => Some(name),
            Self::Workload { namespace, .. } => namespace.as_deref(),
            Self::Any(_) | Self::Network(_) => None,
        }
    }

    /// The same, of this namespace where none was named.
    pub(crate) fn within(mut self, default: Option<&str>) -> Self {
        if let Self::Workload {
            namespace, kind, ..
        } = &mut self
            && namespace.is_none()
            && *kind != Some(Kind::Node)
        {
            *namespace = default.map(Into::into);
        }
        self
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a client or server: write deploy/web, pod/x, svc/x, ns/shop, shop/web, web, an address, a CIDR, node, external or unknown"
            )
        };
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Network(ip.into()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        let parts: Vec<_> = text.split('/').collect();
        let half_network = parts.len() > 1 && parts[0].parse::<IpAddr>().is_ok();
        if half_network || parts.iter().any(|part| !is_name(part)) {
            return Err(wrong());
        }
        let workload = |namespace: Option<&str>, kind, name: &str| Self::Workload {
            namespace: namespace.map(Into::into),
            kind,
            name: name.into(),
        };
        Ok(match parts.as_slice() {
            ["node" | "nodes"] => Self::Any(Kind::Node),
            ["external" | "world"] => Self::Any(Kind::External),
            ["unknown"] => Self::Any(Kind::Unknown),
            // As in `linkerd viz edges deploy`.
            [word] if KINDS.iter().any(|(short, _)| short == word) => {
                Self::Any(kind(word).ok_or_else(wrong)?)
            }
            [name] => workload(None, None, name),
            ["ns" | "namespace" | "namespaces", name] => Self::Namespace((*name).into()),
            [first, name] => match kind(first) {
                Some(kind) => workload(None, Some(kind), name),
                None => workload(Some(first), None, name),
            },
            [namespace, second, name] => {
                let kind = kind(second).ok_or_else(wrong)?;
                workload(Some(namespace), Some(kind), name)
            }
            _ => return Err(wrong()),
        })
    }
}

fn is_name(part: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    !part.is_empty() && part.len() <= 253 && part.chars().all(fits)
}

/// A kind by any of its names.
fn kind(word: &str) -> Option<Kind> {
    let word = word.to_ascii_lowercase();
    let short = KINDS.iter().find(|(short, _)| *short == word);
    short.map(|(_, kind)| *kind).or_else(|| Kind::find(&word))
}

impl End {
    /// Whether `peer` is what is asked for.
    pub(crate) fn is(&self, peer: &Peer) -> bool {
        match self {
            Self::Namespace(name) => peer.namespace() == Some(name.as_str()),
            Self::Any(kind) => peer.kind() == Some(*kind),
            Self::Network(network) => {
                // An edge of an end without a name has its address for one.
                let address = peer.ip.or_else(|| peer.name().parse().ok());
                address.is_some_and(|ip| network.contains(&ip.to_canonical()))
            }
            Self::Workload {
                namespace,
                kind,
                name,
            } => {
                let within = namespace
                    .as_deref()
                    .is_none_or(|namespace| peer.namespace() == Some(namespace));
                let pod = peer.workload.as_ref().and_then(|who| who.pod.as_deref());
                let is_pod = pod == Some(name.as_str());
                let is_named = peer.name() == *name;
                within
                    && match kind {
                        None => is_named || is_pod,
                        Some(Kind::Pod) => is_pod || (is_named && peer.kind() == Some(Kind::Pod)),
                        Some(kind) => is_named && peer.kind() == Some(*kind),
                    }
            }
        }
    }

    /// Whether edges, which are between workloads, may not tell whether it is this.
    pub(super) fn is_of_a_pod(&self) -> bool {
        match self {
            Self::Network(_) => true,
            Self::Workload { kind, .. } => *kind == Some(Kind::Pod),
            _ => false,
        }
    }
}
