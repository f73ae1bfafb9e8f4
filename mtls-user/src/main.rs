//! Is the traffic between these pods really mutual TLS? The command line.

mod cli;
mod cluster;
mod explain;
mod gate;
mod output;
mod select;
mod source;

fn main() -> std::process::ExitCode {
    cli::main()
}
