//! What a newcomer runs: `cargo xtask setup`, `cargo xtask test` and `cargo xtask bench`.

mod bench;
mod setup;
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
    /// Install what the build and the tests need, where it is missing.
    Setup,
    /// Measure.
    Bench(bench::Bench),
    /// Run the tests.
    Test,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Bench(bench) => bench::run(&bench),
        Task::Setup => setup::run(),
        Task::Test => test::run(),
    }
}
