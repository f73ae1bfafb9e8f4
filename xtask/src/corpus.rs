//! `cargo xtask corpus`: the capture of the demo's traffic, made by this project's own peers.

use std::process::Command;

use anyhow::{Context, bail};

use crate::build;
use crate::demo::CAPTURE;

/// Writes the capture anew.
pub(crate) fn run() -> anyhow::Result<()> {
    if !build::is_root() {
        bail!("this makes network namespaces, for which it needs root: run it with sudo");
    }
    build::build(&["--package", "mtls-tests", "--bins"], false)?;
    let path = build::root().join(CAPTURE);
    let dir = path.parent().context("the capture has no directory")?;
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut demo = Command::new(build::program("mtls-demo")?);
    build::run(demo.arg("--capture").arg(&path))
}
