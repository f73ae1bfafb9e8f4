//! `cargo xtask apiserver`: the tests against a real Kubernetes API. Its server is built from the Go
//! module once, which takes a quarter of an hour and more; so this is no part of `cargo xtask test`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::setup;

/// The release of Kubernetes. Its parts are published as modules of their own, whose version begins
/// with 0 instead of 1.
const RELEASE: &str = "1.34.1";
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
        None => server()?,
    };
    step("building mtls");
    build::build(&["--package", "mtls-user"], true)?;
    step("testing");
    let mut command = build::cargo();
    command.args(["test", "--package", "mtls-tests", "--test", "cluster"]);
    command.args(["--", "--ignored", "--nocapture"]);
    build::run(command.env(PROGRAM, server).env("MTLS_REQUIRE_BPF", "1"))
}

/// The kube-apiserver, built unless it is there.
fn server() -> anyhow::Result<PathBuf> {
    let dir = build::root().join("target/apiserver").join(RELEASE);
    let server = dir.join("kube-apiserver");
    if server.is_file() {
        return Ok(server);
    }
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    step(&format!(
        "building kube-apiserver {RELEASE} with Go, which takes 5 to 30 minutes"
    ));
    let module = dir.join("go.mod");
    let write = |text: &str| {
        fs::write(&module, text).with_context(|| format!("write {}", module.display()))
    };
    let mut text = "module apiserver\n\ngo 1.24.0\n".to_owned();
    write(&text)?;
    let kubernetes = format!("k8s.io/kubernetes@v{RELEASE}");
    let list = ["list", "-m", "-f", "{{.GoMod}}", &kubernetes];
    let listed = go(&dir).args(list).output();
    let listed = listed.context(
        "start go: install Go 1.24 or newer (https://go.dev/dl), or set MTLS_KUBE_APISERVER to \
         the path of a kube-apiserver",
    )?;
    if !listed.status.success() {
        let told = String::from_utf8_lossy(&listed.stderr);
        bail!("go finds no {kubernetes}: {told}: is the module proxy (GOPROXY) within reach?");
    }
    let path = String::from_utf8(listed.stdout).context("read what go listed")?;
    let theirs = fs::read_to_string(path.trim()).with_context(|| format!("read {path}"))?;
    write!(
        text,
        "\nrequire k8s.io/kubernetes v{RELEASE}\n\n{}",
        published(&theirs)
    )?;
    write(&text)?;
    let args = [
        "build",
        "-mod=mod",
        "-o",
        ".",
        "k8s.io/kubernetes/cmd/kube-apiserver",
    ];
    build::run(go(&dir).args(args).env("CGO_ENABLED", "0"))?;
    Ok(server)
}

fn go(dir: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(dir)
        .env_remove("GOFLAGS")
        .env("GOWORK", "off");
    command
}

/// Kubernetes' own module replaces its parts by directories of its repository, which only that
/// repository has; these are the same parts as they were published.
fn published(module: &str) -> String {
    let version = RELEASE.replacen('1', "0", 1);
    let parts = module
        .lines()
        .filter_map(|line| line.split_once(" => ./staging/"))
        .filter_map(|(before, _)| before.split_whitespace().last());
    parts.fold(String::new(), |mut text, part| {
        let _ = writeln!(text, "replace {part} => {part} v{version}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_are_replaced_by_their_published_modules() {
        let module = "require k8s.io/api v0.0.0\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n\
            replace k8s.io/kms => ./staging/src/k8s.io/kms\n";
        let expected = "replace k8s.io/api => k8s.io/api v0.34.1\n\
            replace k8s.io/kms => k8s.io/kms v0.34.1\n";
        assert_eq!(super::published(module), expected);
    }
}
