//! An end of a flow or of an edge: its name and its address.

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::{Kind, Word};

/// The owner of an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Workload {
    /// What the table shows: the workload's name (`web` for the pods of Deployment `web`), or the
    /// pod's, the service's, the node's, or the address.
    pub name: SmolStr,
    /// Kubernetes namespace; empty where there is none.
    pub namespace: SmolStr,
    /// Its kind.
    pub kind: Word<Kind>,
    /// The pod's own name, if it is a pod.
    pub pod: Option<SmolStr>,
    /// The pod's service account, if known.
    pub service_account: Option<SmolStr>,
    /// Seconds since the source of this name last answered, if it cannot be reached.
    pub stale: Option<u64>,
}

/// One end of a flow or of an edge; in JSON one flat object, the same for both.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Peer {
    /// Its address; for an edge, only if nothing else is known about the end.
    pub ip: Option<IpAddr>,
    /// Its port; none for an edge's client, which uses many.
    pub port: Option<u16>,
    /// Its owner, if the daemon has looked it up.
    pub workload: Option<Workload>,
}

/// A [`Peer`] in JSON: every field is present, and unknown values are null.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Peer", default)]
struct Flat<'a> {
    /// The address; for an edge, only if nothing else is known about the end.
    ip: Option<IpAddr>,
    /// The port; null for an edge's client, which uses many.
    port: Option<u16>,
    /// The workload's name (`web` for the pods of Deployment `web`), or the pod's, the service's,
    /// the node's, or the address; null in what `mtls classify` prints.
    name: Option<Cow<'a, str>>,
    /// The Kubernetes namespace.
    namespace: Option<Cow<'a, str>>,
    /// Its kind.
    kind: Option<Word<Kind>>,
    /// The pod's own name, if it is a pod.
    pod: Option<Cow<'a, str>>,
    /// The pod's service account, if known.
    service_account: Option<Cow<'a, str>>,
    /// Seconds since the source of the name was last reachable; null while it is reachable.
    stale_seconds: Option<u64>,
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let who = self.workload.as_ref();
        Flat {
            ip: self.ip,
            port: self.port,
            name: who.and_then(|who| present(&who.name)),
            namespace: who.and_then(|who| present(&who.namespace)),
            kind: who.map(|who| who.kind.clone()),
            pod: who.and_then(|who| present(who.pod.as_ref()?)),
            service_account: who.and_then(|who| present(who.service_account.as_ref()?)),
            stale_seconds: who.and_then(|who| who.stale),
        }
        .serialize(serializer)
    }
}

/// An empty name counts as none.
fn present(name: &SmolStr) -> Option<Cow<'_, str>> {
    (!name.is_empty()).then(|| Cow::Borrowed(name.as_str()))
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flat = Flat::deserialize(deserializer)?;
        let known = flat.name.is_some() || flat.kind.is_some();
        Ok(Self {
            ip: flat.ip,
            port: flat.port,
            workload: known.then(|| Workload {
                name: flat.name.unwrap_or_default().into(),
                namespace: flat.namespace.unwrap_or_default().into(),
                kind: flat.kind.unwrap_or_default(),
                pod: flat.pod.map(Into::into),
                service_account: flat.service_account.map(Into::into),
                stale: flat.stale_seconds,
            }),
        })
    }
}

impl JsonSchema for Peer {
    fn schema_name() -> Cow<'static, str> {
        "Peer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Flat::json_schema(generator)
    }
}

impl Peer {
    /// The owner's name, or the address.
    pub fn name(&self) -> Cow<'_, str> {
        match (&self.workload, self.ip) {
            (Some(workload), _) if !workload.name.is_empty() => Cow::Borrowed(&workload.name),
            (_, Some(ip)) => Cow::Owned(ip.to_string()),
            _ => Cow::Borrowed("?"),
        }
    }

    /// Its Kubernetes namespace, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        let namespace = &self.workload.as_ref()?.namespace;
        (!namespace.is_empty()).then_some(namespace.as_str())
    }

    /// Its kind, if the daemon has looked it up and this version knows the kind.
    pub fn kind(&self) -> Option<Kind> {
        self.workload.as_ref()?.kind.known()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_null_and_comes_back() {
        let named = Peer {
            ip: Some("10.0.0.1".parse().unwrap()),
            port: Some(443),
            workload: Some(Workload {
                name: "web".into(),
                kind: "rollout".into(),
                stale: Some(3),
                ..Workload::default()
            }),
        };
        let json = serde_json::to_value(&named).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "ip": "10.0.0.1", "port": 443, "name": "web", "namespace": null, "kind": "rollout",
                "pod": null, "service_account": null, "stale_seconds": 3,
            })
        );
        assert_eq!(serde_json::from_value::<Peer>(json).unwrap(), named);
        let bare = Peer::default();
        let json = serde_json::to_value(&bare).unwrap();
        assert_eq!(json["name"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Peer>(json).unwrap(), bare);
    }
}
