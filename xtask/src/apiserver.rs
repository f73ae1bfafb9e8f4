//! `cargo xtask apiserver`: the tests against a real Kubernetes API, whose server is part of the
//! program that `cargo xtask cluster` builds.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::{cluster, setup};

/// Variable with the path of an existing kube-apiserver.
const PROGRAM: &str = "MTLS_KUBE_APISERVER";

/// The module with the CRDs of policy reports, and where the tests find the one they need.
const REPORTS: &str = "github.com/openreports/reports-api@v0.2.1";
pub(crate) const DEFINITION: &str = "MTLS_OPENREPORTS_CRD";

/// Builds what is missing and runs the tests.
pub(crate) fn run() -> anyhow::Result<()> {
    if !build::is_root() {
        bail!(
            "pods made of network namespaces need root:\n\
             \n    sudo -E env \"PATH=$PATH\" cargo xtask apiserver"
        );
    }
    step("what the build and the tests need");
    setup::cluster()?;
    let server = match env::var_os(PROGRAM) {
        Some(path) => path.into(),
        None => cluster::kube()?.with_file_name("kube-apiserver"),
    };
    step("building mtls");
    build::build(&["--package", "mtls-user"], true)?;
    step("testing");
    let mut command = build::cargo();
    // The same selection as for all tests: with another one, dependencies would be rebuilt.
    command.args(["test", "--workspace", "--exclude", "mtls-ebpf"]);
    for test in ["cluster", "expectations", "evidence"] {
        command.args(["--test", test]);
    }
    command.args(["--", "--ignored", "--nocapture"]);
    command.env(PROGRAM, server).env(DEFINITION, definition()?);
    build::run(command.env("MTLS_REQUIRE_BPF", "1"))
}

/// The CRD of policy reports, as published.
pub(crate) fn definition() -> anyhow::Result<PathBuf> {
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", REPORTS]);
    let output = go.current_dir("/").output().context("start go")?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("go mod download {REPORTS}"))?;
    let dir = told["Dir"]
        .as_str()
        .with_context(|| format!("go mod download {REPORTS}: {}", told["Error"]))?;
    Ok(Path::new(dir).join("config/crd/openreports.io_reports.yaml"))
}
