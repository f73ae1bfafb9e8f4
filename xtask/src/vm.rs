//! `cargo xtask vm`: the real `mtls` on older kernels, each in a virtual machine of its own.

mod image;
mod machine;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::setup;

/// What to boot.
#[derive(clap::Args)]
pub(crate) struct Vm {
    /// Debian cloud kernel series; 5.15 is Ubuntu's.
    #[arg(default_values = ["5.15", "6.1", "6.12"], value_name = "SERIES")]
    kernels: Vec<String>,
    /// Timeout per machine, in seconds.
    #[arg(long, default_value_t = 180)]
    timeout: u64,
    /// Show the console of machines that pass, too.
    #[arg(long)]
    console: bool,
}

/// Boots each kernel; an error if one of them fails.
pub(crate) fn run(args: &Vm) -> anyhow::Result<()> {
    setup::virtual_machines()?;
    step("building mtls with its kernel program");
    build::build(&["--package", "mtls-user"], true)?;
    let cache = cache();
    std::fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;

    let mut failed = Vec::new();
    for series in &args.kernels {
        step(&format!("Linux {series}"));
        match machine(args, series) {
            Ok(passed) => println!("{series}: ok: {passed}"),
            Err(error) => {
                println!("{series}: FAILED: {error:#}");
                failed.push(series.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
    }
    Ok(())
}

/// What the machine prints when it passes.
fn machine(args: &Vm, series: &str) -> anyhow::Result<String> {
    let mode = mode(series)?;
    let kernel = image::kernel(&cache(), series)?;
    let initramfs = image::initramfs(&cache(), &kernel)?;
    let log = cache().join(format!("{series}.log"));
    let timeout = Duration::from_secs(args.timeout);
    let outcome = machine::boot(&kernel.image, &initramfs, mode, &log, timeout);
    if outcome.is_err() || args.console {
        eprint!("{}", machine::console(&log));
        eprintln!("(the console's log: {})", log.display());
    }
    outcome
}

/// The attachment method expected there: tcx came with Linux 6.6.
fn mode(series: &str) -> anyhow::Result<&'static str> {
    let version = series.split_once('.').and_then(|(major, minor)| {
        let version: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        Some(version)
    });
    let version = version.with_context(|| format!("{series:?} is not a series such as 6.1"))?;
    Ok(if version >= (6, 6) { "tcx" } else { "clsact" })
}

/// The directory of kernels, images and logs.
fn cache() -> PathBuf {
    build::root().join("target/vm")
}
