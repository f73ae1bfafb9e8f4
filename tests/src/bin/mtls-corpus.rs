//! Regenerates the corpus of captured handshakes.

use std::path::PathBuf;

use clap::Parser;

/// Regenerates the corpus of captured handshakes; needs root.
#[derive(Parser)]
struct Args {
    /// The corpus's directory (`tests/corpus`).
    directory: PathBuf,
    /// Only recordings whose names contain this.
    #[arg(default_value = "", allow_hyphen_values = true)]
    only: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    mtls_tests::corpus::make(&std::path::absolute(args.directory)?, &args.only)
}
