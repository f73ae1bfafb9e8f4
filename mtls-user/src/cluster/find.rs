//! Where the daemons are: the pods of one DaemonSet in one namespace, which is named or labelled.
//!
//! Pods are never searched for across the cluster by their labels, which anybody may give to a pod: a
//! look-alike would be sent tokens, and answer what it likes.

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, ListParams};

use super::client::{Pages, code, in_time};

/// The label of the daemons' namespace.
const LABEL: &str = "mtls.internal/daemons=true";
/// The chart's label of the DaemonSet.
const SELECTOR: &str = "app.kubernetes.io/name=mtls";
/// What the port is called in the pod.
const PORT: &str = "api";
/// Objects asked for at a time.
const PAGE: u32 = 500;

/// One node's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Daemon {
    pub(super) node: String,
    pub(super) pod: String,
    /// Why it cannot be asked.
    pub(super) trouble: Option<String>,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Daemons {
    pub(super) namespace: String,
    /// The DaemonSet's name.
    pub(super) name: String,
    pub(super) port: u16,
    /// By node.
    pub(super) all: Vec<Daemon>,
    /// Nodes that should have one and have no pod at all.
    pub(super) missing: usize,
}

/// Finds them.
pub(super) async fn daemons(client: &Client, named: Option<&str>) -> anyhow::Result<Daemons> {
    let namespace = match named {
        Some(name) => name.to_owned(),
        None => labelled(client).await?,
    };
    let sets = Api::<DaemonSet>::namespaced(client.clone(), &namespace);
    let params = ListParams::default().labels(SELECTOR);
    let sets = in_time(sets.list(&params)).await;
    let mut sets = sets
        .with_context(|| format!("look for the daemons in the namespace {namespace}"))?
        .items;
    ensure!(
        sets.len() <= 1,
        "the namespace {namespace} has {} DaemonSets of mtls: one is enough",
        sets.len()
    );
    let set = sets.pop().with_context(|| {
        format!("there are no daemons in the namespace {namespace}: is the chart installed there?")
    })?;
    let port = port(&set).context(
        "the daemons answer nobody from outside their nodes: install the chart with api.enabled=true",
    )?;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let mut params = ListParams::default().labels(SELECTOR).limit(PAGE);
    let mut found = Vec::new();
    let mut pages = Pages::default();
    loop {
        pages.next().context("list the daemons' pods")?;
        let page = in_time(pods.list(&params)).await;
        let page = page.context("list the daemons' pods")?;
        // Of each pod, no more is kept than is needed.
        found.extend(page.items.into_iter().filter_map(|pod| own(&set, pod)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    Ok(of(set, port, namespace, found))
}

/// The namespace that the label is on.
async fn labelled(client: &Client) -> anyhow::Result<String> {
    const HINT: &str = "name the daemons' namespace with --daemon-namespace";
    let params = ListParams::default().labels(LABEL);
    let namespaces = Api::<Namespace>::all(client.clone());
    let mut names = match in_time(namespaces.list(&params)).await {
        Ok(all) => all
            .items
            .into_iter()
            .filter_map(|one| one.metadata.name)
            .collect::<Vec<_>>(),
        Err(error) if code(&error) == Some(403) => {
            bail!("you may not look for the namespace labelled {LABEL}: {HINT}")
        }
        Err(error) => return Err(error.context("ask the Kubernetes API")),
    };
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        (None, _) => bail!("no namespace is labelled {LABEL}: label it, or {HINT}"),
        (Some(_), false) => bail!("several namespaces are labelled {LABEL}: {HINT}"),
    }
}

/// The port of the pods that is called `api`.
fn port(set: &DaemonSet) -> Option<u16> {
    let pod = set.spec.template.spec.as_ref()?;
    let ports = pod
        .containers
        .iter()
        .flat_map(|one| one.ports.iter().flatten());
    let port = ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some(PORT))?;
    port.container_port.try_into().ok()
}

/// The pod as the set's daemon on its node, if it is one of the set's own.
fn own(set: &DaemonSet, pod: Pod) -> Option<Daemon> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut owners = pod.metadata.owner_references.iter().flatten();
    if !owners.any(|owner| owner.controller == Some(true) && owner.uid == uid) {
        return None;
    }
    let trouble = trouble(&pod);
    let node = pod.spec?.node_name?;
    let pod = pod.metadata.name?;
    Some(Daemon { node, pod, trouble })
}

/// The set's pods, one for each node.
fn of(set: DaemonSet, port: u16, namespace: String, mut all: Vec<Daemon>) -> Daemons {
    // During an update a node can have an old one and a new one: the one that can be asked.
    all.sort_by(|a, b| (&a.node, &a.trouble, &a.pod).cmp(&(&b.node, &b.trouble, &b.pod)));
    all.dedup_by(|later, first| later.node == first.node);
    let wanted = set
        .status
        .map_or(0, |status| status.desired_number_scheduled);
    let missing = usize::try_from(wanted)
        .unwrap_or(0)
        .saturating_sub(all.len());
    Daemons {
        namespace,
        name: set.metadata.name.unwrap_or_default(),
        port,
        all,
        missing,
    }
}

fn trouble(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("its daemon is being replaced".into());
    }
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    match phase {
        Some("Running") => None,
        phase => Some(format!("its daemon is {}", phase.unwrap_or("not started"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    fn pod(name: &str, node: &str, owner: &str, phase: &str) -> Pod {
        from_value(json!({
            "metadata": {"name": name, "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "DaemonSet", "name": "mtls", "uid": owner, "controller": true}]},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn set(ports: &Value) -> DaemonSet {
        from_value(json!({
            "metadata": {"name": "mtls", "uid": "u"},
            "spec": {"selector": {}, "template": {"spec": {"containers":
                [{"name": "mtls", "ports": ports}]}}},
            "status": {"desiredNumberScheduled": 4, "currentNumberScheduled": 3,
                "numberMisscheduled": 0, "numberReady": 2},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_sets_own_pods_are_asked_one_for_each_node() {
        let mut leaving = pod("old", "node-1", "u", "Running");
        leaving.metadata.deletion_timestamp = from_value(json!("2026-11-28T00:00:00Z")).unwrap();
        let mut orphan = pod("orphan", "node-5", "u", "Running");
        orphan.metadata.owner_references = None;
        let pods = vec![
            leaving,
            pod("new", "node-1", "u", "Running"),
            pod("waits", "node-2", "u", "Pending"),
            pod("look-alike", "node-3", "other", "Running"),
            orphan,
        ];
        let set = set(&json!([]));
        let own = pods.into_iter().filter_map(|pod| own(&set, pod)).collect();
        let found = of(set, 9_847, "mtls".into(), own);
        let told: Vec<_> = found
            .all
            .iter()
            .map(|one| (&*one.node, &*one.pod))
            .collect();
        assert_eq!(told, [("node-1", "new"), ("node-2", "waits")]);
        assert_eq!(found.all[0].trouble, None);
        assert_eq!(
            found.all[1].trouble.as_deref(),
            Some("its daemon is Pending")
        );
        assert_eq!(found.missing, 2);
    }

    #[test]
    fn the_port_is_the_one_called_api() {
        let named = set(&json!([{"name": "x", "containerPort": 1},
            {"name": "api", "containerPort": 9_847}]));
        assert_eq!(port(&named), Some(9_847));
        assert_eq!(port(&set(&json!([]))), None);
    }
}
