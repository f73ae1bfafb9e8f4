//! Tasks for developers: start with `cargo xtask demo`, then `cargo xtask test`.

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
    /// Show what mtls does on a node made of network namespaces; needs root.
    Demo(demo::Args),
    /// Install missing requirements of the build and the tests.
    Setup,
    /// Run the tests; needs root.
    Test(test::Args),
    /// Regenerate the repository's captures; needs root.
    Corpus(corpus::Args),
    /// Check licences, sources and advisories of the dependencies.
    Deny(deny::Args),
    /// Regenerate the output shown in the documentation; needs root.
    Docs(docs::Args),
    /// Print how accurate the verdicts on the corpus are, and write the result to docs/accuracy.md.
    Accuracy,
    /// Fuzz the parsers for a bounded time.
    Fuzz(fuzz::Args),
    /// Run the tests that need a real Kubernetes API; builds one with Go, which takes minutes.
    Apiserver,
    /// A real two-node Kubernetes cluster on this machine; needs root.
    Cluster(cluster::Args),
    /// Generate the files derived from the Helm chart, and check it.
    Chart(chart::Args),
    /// Build a release: archives, images, bills of materials, the chart, checksums.
    Dist(dist::Args),
    /// Build the container image.
    Image(image::Args),
    /// Run mtls on older kernels, in virtual machines.
    Vm(vm::Vm),
    /// Run mtls for an hour during real connections, kills and floods, and compare; needs root.
    Soak(soak::Args),
    /// Run a benchmark.
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Setup => setup::tests(),
        Task::Test(args) => test::run(&args),
        Task::Corpus(args) => corpus::run(&args),
        Task::Deny(args) => deny::run(&args),
        Task::Docs(args) => docs::run(&args),
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
