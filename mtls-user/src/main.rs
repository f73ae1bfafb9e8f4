//! Is the traffic between these pods really mutual TLS? The command line.

mod cli;
mod output;

fn main() -> std::process::ExitCode {
    cli::main()
}
