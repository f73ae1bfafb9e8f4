//! The command line: no verb is written yet, and the program says so rather than succeed.

use std::process::ExitCode;

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    eprintln!("mtls: no command is implemented yet; see ARCHITECTURE.md for what stands");
    ExitCode::FAILURE
}
