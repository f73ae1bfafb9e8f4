//! `cargo xtask bench kernel`: what a packet costs in the kernel program.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

/// What to measure.
#[derive(Args)]
pub(crate) struct Bench {
    /// `kernel`: nanoseconds per packet, path by path.
    what: What,
    /// How to print it.
    #[arg(short, long, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Kernel,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs the benchmark. Its time is spent and taken in the kernel, so a build for speed would change
/// nothing but the time to build.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    let name = match bench.what {
        What::Kernel => "kernel",
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args([
        "bench",
        "--profile",
        "dev",
        "--quiet",
        "--package",
        "mtls-user",
        "--bench",
        name,
        "--",
    ]);
    if matches!(bench.output, Output::Json) {
        command.arg("--output=json");
    }
    let status = command
        .env("MTLS_REQUIRE_BPF", "1")
        .status()
        .context("start cargo bench")?;
    if !status.success() {
        bail!("cargo bench failed: {status}");
    }
    Ok(())
}
