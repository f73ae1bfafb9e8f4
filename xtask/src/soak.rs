//! `cargo xtask soak`: real connections for as long as requested, while everything goes wrong that
//! can on a node; fails if the daemon was wrong even once.

use crate::bench;
use crate::build::{self, step};

/// How long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minutes; CI takes 3.
    #[arg(long, default_value_t = 60)]
    minutes: u32,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut soak = bench::whole_program(true)?;
    step("soaking the daemon");
    build::run(soak.args(["soak", "--minutes", &args.minutes.to_string()]))
}
