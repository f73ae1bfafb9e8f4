//! `cargo xtask demo`: shows what the project does, on any machine.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use crate::build::{self, step};
use crate::setup;

/// The demo's traffic as a capture, for machines without root access.
pub(crate) const CAPTURE: &str = "tests/data/demo.pcap";

/// Options of the demo.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep the demo open until Ctrl-C, to try the other commands from another terminal.
    #[arg(long)]
    keep: bool,
}

/// Builds the daemon and the peers, and becomes the demo.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !build::is_root() {
        return without_root();
    }
    step("what the build needs");
    setup::run()?;
    step("building mtls with its kernel program");
    build::build(&["--package", "mtls-user"], true)?;
    step("building the peers");
    build::build(&["--package", "mtls-tests", "--bins"], false)?;
    // Replaces this process, so that Ctrl-C reaches only one.
    let mut demo = Command::new(build::program("mtls-demo")?);
    demo.args(args.keep.then_some("--keep"));
    Err(demo.exec()).context("start the demo")
}

fn without_root() -> anyhow::Result<()> {
    eprintln!(
        "The demo makes network namespaces and loads an eBPF program, for which it needs root:\n\
         \n    sudo -E env \"PATH=$PATH\" cargo xtask demo\n\
         \nWithout it, here is the classifier on the demo's traffic, captured before ({CAPTURE}).\n"
    );
    step("building mtls");
    build::build(&["--package", "mtls-user"], false)?;
    step(&format!("mtls classify {CAPTURE}"));
    let mut classify = Command::new(build::program("mtls")?);
    build::run(classify.arg("classify").arg(build::root().join(CAPTURE)))
}
