//! Cross-building for 64-bit ARM: Debian's cross compiler, and the standard library of Debian's
//! Rust, which can be used without installation.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::setup;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// A cargo command that builds for it.
pub(crate) fn cargo() -> anyhow::Result<Command> {
    setup::arm64()?;
    let sysroot = sysroot()?;
    let mut command = Command::new("/usr/bin/cargo");
    command
        .current_dir(build::root())
        .env("RUSTC", "/usr/bin/rustc");
    // The host's cargo reports its own compiler.
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
    command.env("RUSTFLAGS", format!("--sysroot={}", sysroot.display()));
    command.env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
        "aarch64-linux-gnu-gcc",
    );
    // For the C and assembly parts: ring, zstd.
    command.env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
    command.env("AR_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-ar");
    Ok(command)
}

/// The compiler's own files together with the target's standard library.
fn sysroot() -> anyhow::Result<PathBuf> {
    let dir = build::root().join("target/arm64");
    let library = dir.join("usr/lib/rustlib").join(TARGET);
    if library.is_dir() {
        return Ok(dir.join("usr"));
    }
    let version = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Version}", "rustc-web"])
        .output()
        .context("ask for the version of rustc-web")?;
    let version = String::from_utf8(version.stdout)?;
    if version.is_empty() {
        bail!("the package rustc-web is not installed: `cargo xtask setup` does that");
    }
    step("fetching Rust's standard library for arm64");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let package = format!("libstd-rust-web-dev:arm64={version}");
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet=2", "download", &package])
        .current_dir(&dir);
    build::run(&mut apt)?;
    for entry in fs::read_dir(&dir)?.flatten() {
        if entry.path().extension().is_some_and(|ext| ext == "deb") {
            build::run(Command::new("dpkg").arg("-x").arg(entry.path()).arg(&dir))?;
            fs::remove_file(entry.path())?;
        }
    }
    if !library.is_dir() {
        bail!("{package} has no {}", library.display());
    }
    Ok(dir.join("usr"))
}
