//! Kubernetes as one program, and CoreDNS, built from their Go modules.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::{bin, dir};
use crate::build::{self, step};

/// The release of Kubernetes. Its parts are published as separate modules, whose major version is 0
/// instead of 1.
pub(super) const RELEASE: &str = "1.34.1";
/// The matching release of CoreDNS.
const COREDNS: &str = "1.12.4";

/// Builds both programs, unless they exist.
pub(super) fn all() -> anyhow::Result<()> {
    kube()?;
    let coredns = format!("require github.com/coredns/coredns v{COREDNS}\n");
    program(
        "coredns",
        include_str!("../../cluster/coredns.go"),
        &coredns,
    )?;
    Ok(())
}

/// Builds Kubernetes' program, unless it exists; returns its path. It acts as the component by
/// whose name it is called, so there is a link for each.
pub(crate) fn kube() -> anyhow::Result<PathBuf> {
    let kube = program("kube", include_str!("../../cluster/kube.go"), "")?;
    let server = kube.with_file_name("kube-apiserver");
    if !server.exists() {
        std::os::unix::fs::symlink("kube", &server)
            .with_context(|| format!("make {}", server.display()))?;
    }
    Ok(kube)
}

/// Builds a program, unless it exists and was built from the same source.
fn program(name: &str, source: &str, requires: &str) -> anyhow::Result<PathBuf> {
    let dir = dir().join(RELEASE).join(name);
    let program = bin().join(name);
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let main = dir.join("main.go");
    if program.is_file() && fs::read_to_string(&main).is_ok_and(|text| text == source) {
        return Ok(program);
    }
    step(&format!(
        "building {name} for Kubernetes {RELEASE} with Go: minutes on the first time"
    ));
    // Written last: its existence shows that the build is complete.
    let scratch = dir.join("main.go.new");
    let built = program.with_extension("new");
    let result = module(&dir, name, requires).and_then(|()| {
        write(&main, source)?;
        build::run(
            go(&dir)
                .args(["build", "-mod=mod", "-trimpath"])
                .args([
                    // Without debug information in the compiler either: half the time.
                    "-gcflags=all=-dwarf=false",
                    &format!("-ldflags={}", flags()),
                    "-o",
                ])
                .arg(&built)
                .arg("."),
        )?;
        fs::rename(&built, &program).with_context(|| format!("put {}", program.display()))
    });
    if result.is_err() {
        let _ = fs::remove_file(&main);
    }
    let _ = fs::remove_file(scratch);
    result?;
    Ok(program)
}

/// The version that Kubernetes reports: kubelets and clients check it.
fn flags() -> String {
    let package = "k8s.io/component-base/version";
    let mut numbers = RELEASE.split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    format!(
        "-s -w -X {package}.gitVersion=v{RELEASE} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}

/// Writes the module's file.
fn module(dir: &Path, name: &str, requires: &str) -> anyhow::Result<()> {
    let path = dir.join("go.mod");
    let mut text = format!("module {name}\n\ngo 1.24.0\n");
    // `go list` requires a module as the current directory.
    write(&path, &text)?;
    let kubernetes = format!("k8s.io/kubernetes@v{RELEASE}");
    let listed = go(dir)
        .args(["list", "-m", "-f", "{{.GoMod}}", &kubernetes])
        .output()
        .context("start go: install Go 1.24 or newer (https://go.dev/dl)")?;
    if !listed.status.success() {
        let told = String::from_utf8_lossy(&listed.stderr);
        bail!("go finds no {kubernetes}: {told}: is the module proxy (GOPROXY) within reach?");
    }
    let theirs = String::from_utf8(listed.stdout).context("read what go listed")?;
    let theirs = fs::read_to_string(theirs.trim()).with_context(|| format!("read {theirs}"))?;
    write!(
        text,
        "\nrequire k8s.io/kubernetes v{RELEASE}\n{requires}\n{}",
        published(&theirs)
    )?;
    write(&path, &text)
}

/// Go without this machine's settings, and as fast as possible: each compiler process ends before
/// it would have to collect garbage, at 1 to 2 GB per process.
fn go(dir: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10", "go"]).current_dir(dir);
    command.env_remove("GOFLAGS").env("GOWORK", "off");
    command.env("CGO_ENABLED", "0").env("GOGC", "off");
    command
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Kubernetes' own module replaces its parts with directories of its repository, which only that
/// repository has; these are the same parts as published.
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
