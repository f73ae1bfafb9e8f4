//! What a newcomer runs: `cargo xtask demo`, then `cargo xtask test`.

mod accuracy;
mod apiserver;
mod arm64;
mod bench;
mod build;
mod chart;
mod cluster;
mod corpus;
mod demo;
mod deny;
mod dist;
mod docs;
mod fuzz;
mod image;
mod oci;
mod setup;
mod soak;
mod test;
mod vm;

use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show what this does on a node made of network namespaces; needs root.
    Demo,
    /// Install what the build and the tests need, where it is missing.
    Setup,
    /// Run the tests; needs root.
    Test(test::Args),
    /// Make the captures that the repository ships anew; needs root.
    Corpus(corpus::Args),
    /// Check licences, sources and advisories of the dependencies.
    Deny(deny::Args),
    /// Write the output that the documentation shows anew; needs root.
    Docs,
    /// Print how right the verdicts on the corpus are, and write it to docs/accuracy.md.
    Accuracy,
    /// Fuzz the parsers for a bounded time.
    Fuzz(fuzz::Args),
    /// Run the tests that need a real Kubernetes API; builds one with Go, which takes minutes.
    Apiserver,
    /// A real Kubernetes of two nodes on this machine; needs root.
    Cluster(cluster::Args),
    /// Make what is made of the Helm chart, and check it.
    Chart(chart::Args),
    /// Make what a release has: archives, images, bills of materials, the chart, checksums.
    Dist(dist::Args),
    /// Make the container image.
    Image(image::Args),
    /// Run it on older kernels, in virtual machines.
    Vm(vm::Vm),
    /// Run it for an hour among real connections, kills and floods, and compare; needs root.
    Soak(soak::Args),
    /// Measure.
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Demo => demo::run(),
        Task::Setup => setup::tests(),
        Task::Test(args) => test::run(&args),
        Task::Corpus(args) => corpus::run(&args),
        Task::Deny(args) => deny::run(&args),
        Task::Docs => docs::run(),
        Task::Accuracy => accuracy::run(),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Apiserver => apiserver::run(),
        Task::Cluster(args) => cluster::run(&args),
        Task::Chart(args) => chart::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Vm(args) => vm::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Bench(bench) => bench::run(&bench),
    }
}
