//! `cargo xtask corpus`: the captures that the repository ships, made anew by real peers: the
//! demo's traffic, and the handshakes of six TLS stacks with their truth.

use std::process::Command;

use anyhow::{Context, bail};

use crate::demo::CAPTURE;
use crate::{build, setup};

/// Captured handshakes, one server a file, and `truth.csv`.
pub(crate) const CORPUS: &str = "tests/corpus";

/// Which captures.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only handshakes whose file's name contains this, such as `1.3-resumed`.
    #[arg(long)]
    only: Option<String>,
    /// The corpus of QUIC and DTLS instead, which needs no root.
    #[arg(long)]
    datagrams: bool,
}

/// Captured QUIC and DTLS, and `truth.csv`.
const DATAGRAMS: &str = "tests/datagrams";
/// The stacks that live in Python.
const PYTHON: [&str; 2] = ["aioquic==1.7.2", "python-mbedtls==2.10.1"];

/// Writes the captures anew; some twenty minutes for all.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.datagrams {
        return datagrams(args);
    }
    if !build::is_root() {
        bail!("this makes network namespaces, for which it needs root: run it with sudo");
    }
    setup::stacks()?;
    build::build(&["--package", "mtls-tests", "--bins"], false)?;
    if args.only.is_none() {
        let path = build::root().join(CAPTURE);
        let dir = path.parent().context("the capture has no directory")?;
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let mut demo = Command::new(build::program("mtls-demo")?);
        build::run(demo.arg("--capture").arg(&path))?;
    }
    let mut corpus = Command::new(build::program("mtls-corpus")?);
    build::run(corpus.arg(build::root().join(CORPUS)).args(&args.only))
}

/// Makes the corpus of datagrams with stacks from Debian, PyPI and Go's proxy; some three minutes.
fn datagrams(args: &Args) -> anyhow::Result<()> {
    setup::stacks()?;
    let python = build::root().join("target/datagrams-python");
    if !python.join("bin/python").exists() {
        build::run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    }
    let mut pip = Command::new(python.join("bin/pip"));
    build::run(pip.args(["install", "--quiet"]).args(PYTHON))?;
    let at = build::root().join(DATAGRAMS);
    let mut make = Command::new(python.join("bin/python"));
    make.arg(at.join("make.py")).arg(at.join("corpus"));
    if let Some(only) = &args.only {
        make.arg("--only").arg(only);
    }
    build::run(&mut make)
}
