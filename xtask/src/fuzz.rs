//! `cargo xtask fuzz`: fuzzes every parser of hostile input, for a bounded time each.

use std::process::Command;

use anyhow::Context;

use crate::build::{self, step};

/// How long to fuzz.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
}

/// Fuzzes; an error if something is found.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let fuzz = build::root().join("fuzz");
    let there = Command::new("cargo-fuzz").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        step("installing cargo-fuzz");
        build::run(build::cargo().args(["install", "cargo-fuzz", "--locked"]))?;
    }
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(fuzz.join("targets")).context("list the fuzz targets")? {
        let path = entry.context("list the fuzz targets")?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            targets.push(name.to_owned());
        }
    }
    targets.sort();
    targets.retain(|name| args.target.as_ref().is_none_or(|only| only == name));
    if targets.is_empty() {
        anyhow::bail!("no such target: fuzz/targets has them");
    }
    for target in targets {
        step(&format!("fuzzing {target} for {} s", args.seconds));
        let (corpus, seeds) = (
            fuzz.join("corpus").join(&target),
            fuzz.join("seeds").join(&target),
        );
        std::fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
        let mut command = build::cargo();
        // The coverage flags are for nightly compilers; a stable compiler accepts them if told to.
        // The fuzzed code has no unsafe code, so the address sanitizer would find nothing.
        command.env("RUSTC_BOOTSTRAP", "1").current_dir(&fuzz);
        command
            .args(["fuzz", "run", "--sanitizer", "none", &target])
            .arg(&corpus)
            .arg(&seeds);
        command.args(["--", &format!("-max_total_time={}", args.seconds)]);
        command.args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        build::run(&mut command)?;
    }
    Ok(())
}
