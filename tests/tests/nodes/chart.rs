//! The chart, checked by the API server and kube-score.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::MTLS;
use serde_json::Value;

use super::cluster;

/// kube-score's complaints that do not apply, with the reasons.
const AS_MEANT: [(&str, &str); 5] = [
    (
        "container-resources",
        "a limit of CPU would have samples lost for want of it; there is a request",
    ),
    (
        "container-image-pull-policy",
        "a tag is a version, whose image does not change",
    ),
    (
        "container-security-context-user-group-id",
        "capabilities are given to root alone, and all but three are dropped",
    ),
    (
        "container-ephemeral-storage-request-and-limit",
        "its file system is read-only",
    ),
    (
        "pod-networkpolicy",
        "it is in its node's network, which policies do not reach",
    ),
];

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn the_manifest_and_every_value_are_accepted_by_the_api_server() -> Result<()> {
    let nodes = cluster()?;
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let manifest = format!("{deploy}/mtls.yaml");
    let dry = [
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        manifest.as_str(),
    ];
    nodes.kubectl(&dry)?;
    let values = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nodes/values.yaml");
    let chart = format!("{deploy}/chart");
    let rendered = nodes.helm(&["template", "other", &chart, "-n", MTLS, "-f", values])?;
    let mut apply = nodes.command("node1", "kubectl")?;
    apply.args(["apply", "--dry-run=server", "--validate=strict", "-f", "-"]);
    let accepted = mtls_tests::process::Process::with_input(apply, rendered.as_bytes())?
        .succeed(Duration::from_mins(1))?;
    for object in ["daemonset", "clusterrole", "service/", "rolebinding"] {
        ensure!(
            accepted.contains(object),
            "{object} is missing in {accepted}"
        );
    }
    // Values that the schema does not know are rejected, not ignored.
    ensure!(
        nodes
            .helm(&["template", "x", &chart, "--set", "imagePullPolicy=Never"])
            .is_err()
    );
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn kube_score_finds_nothing_that_is_not_as_meant() -> Result<()> {
    let nodes = cluster()?;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/mtls.yaml");
    // Its exit code says that there are complaints.
    let output = nodes
        .command("node1", "kube-score")?
        .args(["score", "--output-format", "json", manifest])
        .output()
        .context("start kube-score")?;
    let objects: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let checks = objects.as_array().into_iter().flatten();
    let checks = checks.flat_map(|object| object["checks"].as_array().into_iter().flatten());
    let found: std::collections::BTreeSet<_> = checks
        .filter(|check| check["skipped"] != true && check["grade"].as_u64() < Some(10))
        .filter_map(|check| check["check"]["id"].as_str())
        .collect();
    let meant = AS_MEANT.iter().map(|(id, _)| *id).collect();
    assert_eq!(found, meant, "what kube-score finds, and what is as meant");
    Ok(())
}
