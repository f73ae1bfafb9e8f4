//! Benchmarks of the whole program; `cargo xtask bench` runs it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Default, ValueEnum)]
enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Subcommand)]
enum What {
    /// `mtls classify` compared with tshark and ndpiReader.
    Classify {
        /// The corpus of handshakes.
        #[arg(long)]
        corpus: PathBuf,
        /// The corpus of QUIC connections.
        #[arg(long)]
        datagrams: PathBuf,
        /// Where the captures are created; they need 1 GB, and are removed.
        #[arg(long)]
        work: PathBuf,
    },
    /// Whether anything delays the thread that reads samples; needs root.
    Engine,
    /// What a hostile pod's floods do to other pods' connections, to answers and memory; needs
    /// root.
    Flood,
    /// Real connections with a known ground truth, during stops, kills, floods and changing
    /// interfaces; fails if the daemon was wrong even once. Needs root.
    Soak {
        /// How long.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: u32,
    },
    /// Traffic between two pods, alternating with and without `mtls daemon`; needs root.
    Node {
        /// Pairs of measurements.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
        pairs: u32,
        /// Compare a daemon whose metrics are scraped every second with one that has none.
        #[arg(long)]
        scraped: bool,
    },
    /// From a key press to the end of the resulting frame of `mtls top`.
    Top,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let json = args.output == Output::Json;
    match args.what {
        What::Classify {
            corpus,
            datagrams,
            work,
        } => mtls_tests::bench::classify::run(&corpus, &datagrams, &work, json),
        What::Engine => mtls_tests::bench::engine::run(json),
        What::Flood => mtls_tests::bench::flood::run(json),
        What::Soak { minutes } => {
            let time = std::time::Duration::from_mins(minutes.into());
            mtls_tests::bench::soak::run(time)
        }
        What::Node { pairs, scraped } => mtls_tests::bench::node::run(pairs, scraped, json),
        What::Top => mtls_tests::bench::top::run(json),
    }
}
