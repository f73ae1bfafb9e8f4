//! What a newcomer runs: `cargo xtask test`.

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
    /// Run the tests.
    Test,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Test => test::run(),
    }
}
