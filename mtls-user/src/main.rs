//! Is the traffic between these pods really mutual TLS? The command line.
//!
//! The rooms stand from the bottom up: each uses only those above it, which a test checks.

mod usage;

mod output;

mod select;

mod explain;

mod inventory;

mod gate;

mod graph;

mod cluster;

mod source;

mod recording;

mod report;

mod top;

mod ui;

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
