//! `cargo xtask corpus`: the captures that the repository ships, made anew by real peers: the
//! demo's traffic, and the handshakes of six TLS stacks with their truth.

use std::process::Command;

use anyhow::{Context, bail};

use crate::build;
use crate::demo::CAPTURE;

/// Captured handshakes, one flow a file, and `truth.csv`.
pub(crate) const CORPUS: &str = "tests/corpus";

/// Writes the captures anew; some twenty minutes.
pub(crate) fn run() -> anyhow::Result<()> {
    if !build::is_root() {
        bail!("this makes network namespaces, for which it needs root: run it with sudo");
    }
    build::build(&["--package", "mtls-tests", "--bins"], false)?;
    let path = build::root().join(CAPTURE);
    let dir = path.parent().context("the capture has no directory")?;
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut demo = Command::new(build::program("mtls-demo")?);
    build::run(demo.arg("--capture").arg(&path))?;
    let mut corpus = Command::new(build::program("mtls-corpus")?);
    build::run(corpus.arg(build::root().join(CORPUS)))
}
