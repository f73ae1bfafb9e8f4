//! Whether a cluster has what its daemons need, and whoever asks them.

use kube::Client;
use mtls_core::record::{Check, CheckState, Status};

use super::{Cluster, Options, client, find, line, token};

/// The checks, in the order in which one needs the other; the last one may not have been possible.
pub(crate) async fn checks(options: &Options) -> Vec<Check> {
    let mut checks = Vec::new();
    // What is left out depends on what failed, which says so itself.
    let _ = all(options, &mut checks).await;
    checks
}

async fn all(options: &Options, checks: &mut Vec<Check>) -> Option<()> {
    let client = checked(
        checks,
        "kubeconfig",
        client::new(options).await.map(|(client, _)| client),
        |_| "read".into(),
    )?;
    let version = version(&client).await;
    checked(checks, "kubernetes-api", version, Clone::clone)?;
    let named = options.daemon_namespace.as_deref();
    let daemons = find::daemons(&client, named).await;
    let daemons = checked(checks, "daemons", daemons, |found| {
        format!("{} in {}/{}", found.all.len(), found.namespace, found.name)
    })?;
    let token = token::obtain(&client, options, &daemons, None).await;
    let token = checked(checks, "token", token, |_| "for the audience mtls".into())?;
    let cluster = Cluster {
        client,
        daemons,
        token,
        namespace: None,
        selected: None,
        patience: std::time::Duration::from_secs(options.node_timeout),
    };
    let asked = cluster.ask::<Status>("/v1/status").await;
    let state = match (asked.nodes.all(), asked.nodes.answered) {
        (true, _) => CheckState::Ok,
        (false, 0) => CheckState::Fail,
        (false, _) => CheckState::Warn,
    };
    checks.push(Check {
        name: "nodes".into(),
        state: state.into(),
        found: line(&asked.nodes),
        fix: Some("look at the pods of the nodes that did not answer".into()),
    });
    for status in &asked.answers {
        checks.extend(node(status));
    }
    Some(())
}

async fn version(client: &Client) -> anyhow::Result<String> {
    Ok(client::in_time(client.apiserver_version())
        .await?
        .git_version)
}

/// Notes a check, which is passed when there is an answer.
fn checked<T>(
    checks: &mut Vec<Check>,
    name: &str,
    outcome: anyhow::Result<T>,
    found: impl Fn(&T) -> String,
) -> Option<T> {
    let (state, found, value) = match outcome {
        Ok(value) => (CheckState::Ok, found(&value), Some(value)),
        Err(error) => (CheckState::Fail, format!("{error:#}"), None),
    };
    checks.push(Check {
        name: name.into(),
        state: state.into(),
        found,
        fix: None,
    });
    value
}

/// What is amiss on a node; nothing when nothing is.
fn node(status: &Status) -> Vec<Check> {
    let name = status.node.as_deref().unwrap_or("?");
    let mut found = Vec::new();
    for interface in &status.kernel.not_attached {
        found.push(format!(
            "{} is not watched: {}",
            interface.name, interface.reason
        ));
    }
    for pod in &status.coverage.unwatched {
        found.push(format!(
            "{}/{} is not watched: {}",
            pod.namespace, pod.name, pod.reason
        ));
    }
    for source in &status.sources {
        if let Some(error) = &source.error {
            found.push(format!("no names from {}: {error}", source.name));
        }
    }
    if status.version != env!("CARGO_PKG_VERSION") {
        found.push(format!("its daemon is of version {}", status.version));
    }
    let check = |found| Check {
        name: format!("node/{name}"),
        state: CheckState::Warn.into(),
        found,
        fix: Some("see `status`".into()),
    };
    found.into_iter().map(check).collect()
}
