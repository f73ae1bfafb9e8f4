//! `cargo xtask bench`: what the documentation says of speed, measured here and now.

use std::process::Command;

use crate::build::{self, step};
use crate::corpus::CORPUS;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// `mtls classify` on one core, beside tshark and ndpiReader on the same captures.
    Classify {
        /// `table` or `json`.
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        output: String,
    },
    /// Memory and look-up time of a directory of 10,000 pods.
    Pods,
}

/// Measures.
pub(crate) fn run(what: &Bench) -> anyhow::Result<()> {
    match what {
        Bench::Pods => {
            step("building for speed, and measuring");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut bench = Command::new(cargo);
            bench.args(["run", "--release", "--quiet", "--package", "mtls-user"]);
            bench.args(["--example", "bench_pods"]);
            build::run(&mut bench)
        }
        Bench::Classify { output } => {
            step("building for speed");
            build::build(
                &[
                    "--release",
                    "--package",
                    "mtls-user",
                    "--package",
                    "mtls-tests",
                    "--bins",
                ],
                false,
            )?;
            let target = build::program("xtask")?;
            let target = target.ancestors().nth(2).unwrap_or(build::root());
            step("making captures and measuring");
            let mut bench = Command::new(target.join("release/mtls-bench"));
            bench.args(["classify", "--output", output]);
            bench.arg("--corpus").arg(build::root().join(CORPUS));
            bench.arg("--work").arg(target.join("bench"));
            build::run(&mut bench)
        }
    }
}
