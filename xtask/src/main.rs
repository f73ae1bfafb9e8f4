//! What a newcomer runs: `cargo xtask setup` and `cargo xtask test`.

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
    /// Run the tests.
    Test,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Setup => setup::run(),
        Task::Test => test::run(),
    }
}
