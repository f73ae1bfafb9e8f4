//! `cargo xtask test`: every test of the workspace.

use std::process::Command;

use anyhow::{Context, bail};

/// Runs the tests; an error when one fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The kernel's part has no host to run on: it is left to the build for its own target.
    let status = Command::new(cargo)
        .args(["test", "--workspace", "--exclude", "mtls-ebpf"])
        .status()
        .context("start cargo test")?;
    if !status.success() {
        bail!("cargo test failed: {status}");
    }
    Ok(())
}
