//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The program under test: `MTLS_BIN`, else `mtls` where cargo puts it.
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

/// What ends a runtime's shims and pods with it.
pub fn reaper() -> Result<PathBuf> {
    sibling("mtls-reaper").context("build it with `cargo build -p mtls-tests --bins`")
}

/// The OpenTelemetry Collector that the set-up builds of `tests/collector`.
pub fn collector() -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this program")?;
    let mut dirs = here.ancestors().skip(1);
    dirs.find_map(|dir| Some(dir.join("collector/collector")).filter(|path| path.is_file()))
        .context("no Collector is built: `cargo xtask test` builds it")
}

/// A program of the system, also one that Debian keeps off the path of most.
pub fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // PostgreSQL's programs are in a directory for each of its versions.
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

/// A binary of the same build: tests run in `target/PROFILE/deps`, programs in `target/PROFILE`.
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
