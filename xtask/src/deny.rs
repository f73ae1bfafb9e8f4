//! `cargo xtask deny`: checks licences, sources, duplicates and advisories of all dependencies.

use std::process::Command;

use crate::build::{self, step};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also query the RustSec advisory database, which is fetched from GitHub.
    #[arg(long)]
    advisories: bool,
}

/// Runs the checks; an error if one fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let there = Command::new("cargo-deny").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        step(&format!(
            "installing cargo-deny {VERSION}, which takes some minutes"
        ));
        build::run(build::cargo().args([
            "install",
            "cargo-deny",
            "--locked",
            "--version",
            VERSION,
        ]))?;
    }
    let mut command = build::cargo();
    command.args([
        "deny",
        "--workspace",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    if args.advisories {
        command.arg("advisories");
    }
    build::run(&mut command)
}
