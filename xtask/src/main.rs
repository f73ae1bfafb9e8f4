//! What a newcomer runs: `cargo xtask demo`, then `cargo xtask test`.

mod build;
mod corpus;
mod demo;
mod test;

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
    /// Run the tests; needs root.
    Test(test::Args),
    /// Write the capture that the demo falls back on anew; needs root.
    Corpus,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
        Task::Corpus => corpus::run(),
    }
}
