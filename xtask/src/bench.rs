//! `cargo xtask bench`: measures the performance numbers in the documentation.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{self, step};
use crate::corpus::{CORPUS, DATAGRAMS};
use crate::setup;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// `kernel`: nanoseconds per packet, path by path. `classify`: `mtls classify` on one core,
    /// compared with tshark and ndpiReader on the same captures. `pods`: memory and lookups of a
    /// directory of 10,000 pods. `metrics`: cost of a scrape with 10,000 edges. `top`: frames of
    /// `mtls top` with 10,000 edges. `engine`: whether names, queries or new interfaces delay the
    /// reading of samples; needs root. `flood`: what a hostile pod's floods do to the connections
    /// of others, to answers and memory; a minute, needs root. `node`: traffic between two pods
    /// with and without the daemon; four minutes, needs root. `cluster`: 1,000 simulated nodes
    /// with 2,000 edges each, queried through port-forwards.
    what: What,
    /// `node`: compare a daemon whose metrics are scraped every second with one that has none.
    #[arg(long)]
    scraped: bool,
    /// Output format.
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    output: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    Cluster,
    Kernel,
    Classify,
    Pods,
    Metrics,
    Engine,
    Flood,
    Node,
    Top,
}

/// Measures.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench.what {
        What::Cluster => cluster(),
        What::Kernel => kernel(&bench.output),
        What::Classify => classify(&bench.output),
        What::Pods => pods(&bench.output),
        What::Metrics => metrics(),
        What::Engine => engine(&bench.output),
        What::Flood => flood(&bench.output),
        What::Node => node(bench.scraped, &bench.output),
        What::Top => top(&bench.output),
    }
}

/// Its time is spent and measured in the kernel, so an optimised build would change nothing but the
/// build time.
fn kernel(output: &str) -> anyhow::Result<()> {
    let mut command = build::cargo();
    command.args(["bench", "--profile", "dev", "--quiet"]);
    command.args(["--package", "mtls-node", "--features", "bench"]);
    command.args(["--bench", "kernel", "--"]);
    command.arg(format!("--output={output}"));
    build::run(command.env("MTLS_REQUIRE_BPF", "1"))
}

fn pods(output: &str) -> anyhow::Result<()> {
    let mut command = build::cargo();
    command.args(["bench", "--profile", "dist", "--quiet"]);
    command.args(["--package", "mtls-node", "--bench", "pods", "--"]);
    command.arg(format!("--output={output}"));
    build::run(&mut command)
}

fn cluster() -> anyhow::Result<()> {
    step("building for speed");
    build::build(&["--profile", "dist", "--package", "mtls-user"], false)?;
    let mut command = build::cargo();
    command.args(["bench", "--profile", "dist", "--quiet"]);
    command.args([
        "--package",
        "mtls-node",
        "--bench",
        "cluster",
        "--",
        "--mtls",
    ]);
    build::run(command.arg(target()?.join("dist/mtls")))
}

fn metrics() -> anyhow::Result<()> {
    let mut command = build::cargo();
    command.args(["bench", "--profile", "dist", "--quiet"]);
    build::run(command.args(["--package", "mtls-node", "--bench", "metrics"]))
}

fn classify(output: &str) -> anyhow::Result<()> {
    setup::rivals()?;
    let mut bench = whole_program(false)?;
    step("making captures and measuring");
    bench.args(["classify", "--output", output]);
    bench.arg("--corpus").arg(build::root().join(CORPUS));
    let datagrams = build::root().join(DATAGRAMS).join("corpus");
    bench.arg("--datagrams").arg(datagrams);
    bench.arg("--work").arg(target()?.join("bench"));
    build::run(&mut bench)
}

fn engine(output: &str) -> anyhow::Result<()> {
    let mut bench = whole_program(true)?;
    step("loading the daemon");
    build::run(bench.args(["engine", "--output", output]))
}

fn flood(output: &str) -> anyhow::Result<()> {
    let mut bench = whole_program(true)?;
    step("flooding the daemon");
    build::run(bench.args(["flood", "--output", output]))
}

fn node(scraped: bool, output: &str) -> anyhow::Result<()> {
    let mut bench = whole_program(true)?;
    step("measuring traffic with and without the daemon");
    bench.args(["node", "--output", output]);
    if scraped {
        bench.arg("--scraped");
    }
    build::run(&mut bench)
}

fn top(output: &str) -> anyhow::Result<()> {
    let mut bench = whole_program(false)?;
    step("pressing keys");
    build::run(bench.args(["top", "--output", output]))
}

/// Builds everything optimised; returns the program that measures.
pub(crate) fn whole_program(kernel: bool) -> anyhow::Result<Command> {
    step("building for speed");
    let packages = [
        "--package",
        "mtls-user",
        "--package",
        "mtls-tests",
        "--bins",
    ];
    build::build(&[&["--profile", "dist"], &packages[..]].concat(), kernel)?;
    Ok(Command::new(target()?.join("dist/mtls-bench")))
}

/// The directory of cargo's build output.
fn target() -> anyhow::Result<PathBuf> {
    let own = build::program("xtask")?;
    let target = own.ancestors().nth(2).unwrap_or(Path::new("target"));
    Ok(target.to_owned())
}
