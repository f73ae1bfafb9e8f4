//! Pods by their labels (`-l`), as kubectl has them: the workloads of those that there are now.

use std::collections::HashSet;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use mtls_core::record::{Kind, Peer, Word};
use serde::Serialize;
use smol_str::SmolStr;

use super::client::{Pages, in_time};

/// Pods asked for at a time.
const PAGE: u32 = 500;

/// The workloads that have a pod with the labels.
pub(super) struct Selected(HashSet<(SmolStr, Word<Kind>, SmolStr)>);

impl Selected {
    /// Asks for the pods in the namespace, or in all.
    pub(super) async fn of(
        client: &Client,
        namespace: Option<&str>,
        selector: &str,
    ) -> anyhow::Result<Self> {
        let pods = match namespace {
            Some(namespace) => Api::<Pod>::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        let mut found = HashSet::new();
        let mut pages = Pages::default();
        loop {
            let what = || format!("list the pods with the labels {selector}");
            pages.next().with_context(what)?;
            let page = in_time(pods.list_metadata(&params)).await;
            let page = page.with_context(what)?;
            found.extend(page.items.iter().filter_map(workload));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(Self(found)),
            }
        }
    }

    /// How many workloads these are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of the ends is of such a workload.
    pub(super) fn takes(&self, ends: [&Peer; 2]) -> bool {
        ends.into_iter().any(|end| {
            end.workload.as_ref().is_some_and(|who| {
                let key = (who.namespace.clone(), who.kind.clone(), who.name.clone());
                self.0.contains(&key)
            })
        })
    }
}

/// What the daemons call the workload of a pod.
fn workload(pod: &impl Serialize) -> Option<(SmolStr, Word<Kind>, SmolStr)> {
    let who = mtls_node::pods::kubernetes::workload(serde_json::to_value(pod).ok()?)?;
    Some((who.namespace, who.kind, who.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::Workload;
    use serde_json::json;

    #[test]
    fn an_end_is_of_the_workload_of_a_pod_with_the_labels() {
        let pod = json!({"metadata": {
            "name": "web-7d9c5b-x2x4z", "namespace": "shop",
            "labels": {"app": "web", "pod-template-hash": "7d9c5b"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                "name": "web-7d9c5b", "controller": true}],
        }});
        let selected = Selected(workload(&pod).into_iter().collect());
        assert_eq!(selected.len(), 1);
        let end = |namespace: &str, kind: Kind, name: &str| Peer {
            workload: Some(Workload {
                name: name.into(),
                namespace: namespace.into(),
                kind: kind.into(),
                ..Workload::default()
            }),
            ..Peer::default()
        };
        let other = end("shop", Kind::Deployment, "db");
        assert!(selected.takes([&end("shop", Kind::Deployment, "web"), &other]));
        assert!(selected.takes([&other, &end("shop", Kind::Deployment, "web")]));
        for wrong in [
            end("bank", Kind::Deployment, "web"),
            end("shop", Kind::Service, "web"),
            Peer::default(),
        ] {
            assert!(!selected.takes([&wrong, &other]));
        }
    }
}
