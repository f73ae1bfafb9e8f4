//! `cargo xtask corpus`: regenerates the repository's captures with real peers: the demo's traffic,
//! and the handshakes of twelve TLS stacks with their ground truth.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::demo::CAPTURE;
use crate::{build, setup};

/// Captured handshakes, one server per file, and `truth.csv`.
pub(crate) const CORPUS: &str = "tests/corpus";

/// Which captures.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only handshakes whose file name contains this, such as `1.3-resumed`.
    #[arg(long)]
    only: Option<String>,
    /// The corpus of QUIC and DTLS instead, which needs no root.
    #[arg(long)]
    datagrams: bool,
}

/// Captured QUIC and DTLS, and `truth.csv`.
pub(crate) const DATAGRAMS: &str = "tests/datagrams";
/// The stacks that are Python packages.
const PYTHON: [&str; 5] = [
    "aioquic==1.7.2",
    "curl_cffi==0.17.0",
    "pyOpenSSL==26.4.0",
    "python-mbedtls==2.10.1",
    "tlslite-ng==0.8.2",
];

/// Regenerates the captures; some twenty minutes for all.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.datagrams {
        return datagrams(args);
    }
    if !build::is_root() {
        bail!("this makes network namespaces, for which it needs root: run it with sudo");
    }
    setup::stacks()?;
    build::build(&["--package", "mtls-tests", "--bins"], false)?;
    python()?;
    rust_peers()?;
    go_peers()?;
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

/// A Python environment with the Python stacks.
fn python() -> anyhow::Result<PathBuf> {
    let python = build::root().join("target/peers/python");
    if !python.join("bin/python").exists() {
        build::run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    }
    let mut pip = Command::new(python.join("bin/pip"));
    build::run(pip.args(["install", "--quiet"]).args(PYTHON))?;
    Ok(python.join("bin/python"))
}

/// The peers that use Rust TLS crates, which are not part of the workspace.
fn rust_peers() -> anyhow::Result<PathBuf> {
    let root = build::root();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--manifest-path"]);
    cargo.arg(root.join("tests/peers/Cargo.toml"));
    cargo.arg("--target-dir").arg(root.join("target/peers"));
    build::run(&mut cargo)?;
    Ok(root.join("target/peers/debug/mtls-corpus-peers"))
}

/// The peers that use Go modules.
fn go_peers() -> anyhow::Result<()> {
    let root = build::root();
    let mut go = Command::new("go");
    go.current_dir(root.join(DATAGRAMS)).args(["build", "-o"]);
    go.arg(root.join("target/peers/go")).arg(".");
    build::run(&mut go)
}

/// Creates the datagram corpus with stacks from Debian, PyPI and the Go proxy; some three minutes.
fn datagrams(args: &Args) -> anyhow::Result<()> {
    setup::stacks()?;
    let (python, peers) = (python()?, rust_peers()?);
    let at = build::root().join(DATAGRAMS);
    let mut make = Command::new(python);
    make.arg(at.join("make.py")).arg(at.join("corpus"));
    make.arg("--peers").arg(peers);
    if let Some(only) = &args.only {
        make.arg("--only").arg(only);
    }
    build::run(&mut make)
}
