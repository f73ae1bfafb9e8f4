//! Runs cargo for the other tasks.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root());
    // Variables that `cargo run` set for this package: build scripts that depend on them (ring's)
    // would be rebuilt each time.
    for (name, _) in std::env::vars_os() {
        if let Some(text) = name.to_str()
            && ["CARGO_PKG_", "CARGO_MANIFEST_"]
                .iter()
                .any(|p| text.starts_with(p))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Builds what the arguments name, showing cargo's progress. With `kernel`, a build without the
/// kernel program is an error.
pub(crate) fn build(args: &[&str], kernel: bool) -> anyhow::Result<()> {
    let mut command = cargo();
    command.arg("build").args(args);
    if kernel {
        command.env("MTLS_REQUIRE_BPF", "1");
    }
    run(&mut command)
}

/// Runs a command to its end; an error if it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        bail!("{name} {} failed: {status}", args.join(" "));
    }
    Ok(())
}

/// A program of this build.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()
        .context("find this program")?
        .with_file_name(name);
    if !path.is_file() {
        bail!("{} was not built", path.display());
    }
    Ok(path)
}

/// The workspace directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Whether this process runs as root: the owner of its entry in `/proc`.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// Announces a step that may take long.
pub(crate) fn step(what: &str) {
    eprintln!("==> {what}");
}
