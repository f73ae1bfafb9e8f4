//! `cargo xtask apiserver`: the tests against a real Kubernetes API, whose server is a part of the
//! program that `cargo xtask cluster` builds.

use std::env;

use anyhow::bail;

use crate::build::{self, step};
use crate::{cluster, setup};

/// Who has a kube-apiserver says here where it is.
const PROGRAM: &str = "MTLS_KUBE_APISERVER";

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
    command.args(["test", "--package", "mtls-tests", "--test", "cluster"]);
    command.args(["--", "--ignored", "--nocapture"]);
    build::run(command.env(PROGRAM, server).env("MTLS_REQUIRE_BPF", "1"))
}
