//! `cargo xtask docs`: regenerates the output shown in the documentation.

use std::process::Command;

use crate::build::{self, step};
use crate::setup;

/// What to regenerate.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Draw the picture of the Grafana dashboard, docs/dashboard.svg, instead.
    #[arg(long)]
    dashboard: bool,
}

/// Runs the commands that the pages show and inserts their output.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.dashboard {
        return dashboard();
    }
    step("building mtls");
    build::build(&["--package", "mtls-user"], true)?;
    step("writing the schema of the JSON into docs/schema.json");
    let mut schema = build::cargo();
    schema.args([
        "test",
        "--quiet",
        "--package",
        "mtls-core",
        "--test",
        "schema",
    ]);
    build::run(schema.env("MTLS_DOCS", "write"))?;
    step("writing the table of metrics into docs/metrics.md");
    let mut metrics = build::cargo();
    metrics.args(["test", "--quiet", "--package", "mtls-node", "--lib"]);
    metrics.arg("the_documentation_lists_every_metric");
    build::run(metrics.env("MTLS_DOCS", "write"))?;
    step("writing what the program prints into README.md and docs");
    let mut command = build::cargo();
    command.args([
        "test",
        "--quiet",
        "--package",
        "mtls-tests",
        "--test",
        "docs",
    ]);
    build::run(
        command
            .env("MTLS_DOCS", "write")
            .env("MTLS_REQUIRE_BPF", "1"),
    )
}

/// Draws the dashboard's panels with data from a real Prometheus.
fn dashboard() -> anyhow::Result<()> {
    step("what the tests need");
    setup::tests()?;
    step("building mtls and the demo");
    build::build(&["--package", "mtls-user"], true)?;
    build::build(&["--package", "mtls-tests", "--bins"], false)?;
    let mut demo = Command::new(build::program("mtls-demo")?);
    demo.arg("--dashboard");
    build::run(demo.arg(build::root().join("docs/dashboard.svg")))
}
