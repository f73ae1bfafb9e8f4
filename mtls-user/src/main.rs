//! The `mtls` program: everything is in the library.

fn main() -> std::process::ExitCode {
    mtls_user::cli::main()
}
