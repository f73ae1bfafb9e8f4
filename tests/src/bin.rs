//! Paths of the programs under test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The program under test: `MTLS_BIN`, or else `mtls` where cargo builds it.
pub fn mtls() -> Result<PathBuf> {
    match std::env::var_os("MTLS_BIN") {
        Some(path) => Ok(path.into()),
        None => {
            sibling("mtls").context("build it with `cargo build -p mtls-user`, or set MTLS_BIN")
        }
    }
}

/// The TLS peer that this package builds.
pub fn peer() -> Result<PathBuf> {
    sibling("mtls-peer").context("build it with `cargo build -p mtls-tests --bins`")
}

/// A program that ends a runtime's shims and pods together with the runtime.
pub fn reaper() -> Result<PathBuf> {
    sibling("mtls-reaper").context("build it with `cargo build -p mtls-tests --bins`")
}

/// The OpenTelemetry Collector that the set-up builds from `tests/collector`.
pub fn collector() -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this program")?;
    let mut dirs = here.ancestors().skip(1);
    dirs.find_map(|dir| Some(dir.join("collector/collector")).filter(|path| path.is_file()))
        .context("no Collector is built: `cargo xtask test` builds it")
}

/// A system program, including those that Debian does not put on most users' path.
pub fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // PostgreSQL's programs are in one directory per version.
    let postgresql = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let postgresql = postgresql.flatten().map(|entry| entry.path().join("bin"));
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(postgresql)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// A binary of the same build: tests are in `target/PROFILE/deps`, programs in `target/PROFILE`.
fn sibling(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this program")?;
    let dirs = here.ancestors().skip(1).take(2);
    match dirs.map(|dir| dir.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no `{name}` near {}", parent(&here).display()),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
