//! `cargo xtask test`: every test of the workspace.

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::setup;

/// How to run the tests.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Let tests that cannot run here pass, and list them.
    #[arg(long)]
    allow_skip: bool,
    /// Run the tests on a real two-node Kubernetes cluster instead, which is started for them.
    #[arg(long, conflicts_with = "allow_skip")]
    cluster: bool,
    /// How the image for the cluster is built; see `cargo xtask image`.
    #[arg(long, default_value = "dev", value_parser = ["dist", "release", "dev"], requires = "cluster")]
    image_profile: String,
    /// Arguments for `cargo test`: `--test lifecycle`, `-- --nocapture`.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARG"
    )]
    rest: Vec<String>,
}

/// Runs the tests; an error if one fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.cluster {
        return crate::cluster::test(&args.image_profile, &args.rest);
    }
    let root = build::is_root();
    if !root && !args.allow_skip {
        bail!(
            "most end-to-end tests need root:\n\
             \n    sudo -E env \"PATH=$PATH\" cargo xtask test\n\
             \nor leave them out: cargo xtask test --allow-skip"
        );
    }
    if root {
        step("what the build and the tests need");
        setup::tests()?;
    }
    // The end-to-end tests run the program itself, which cargo would not build for them.
    step("building mtls");
    build::build(&["--package", "mtls-user"], root)?;

    step("testing");
    let skips = build::program("xtask")?.with_file_name("skipped-tests");
    std::fs::write(&skips, "").with_context(|| format!("write {}", skips.display()))?;
    let mut command = build::cargo();
    // The kernel program cannot be built for the host; a build script builds it for its own target.
    command.args(["test", "--workspace", "--exclude", "mtls-ebpf"]);
    command.args(&args.rest).env("MTLS_SKIP_LOG", &skips);
    if root {
        command.env("MTLS_REQUIRE_BPF", "1");
    }
    if args.allow_skip {
        command.env("MTLS_ALLOW_SKIP", "1");
    }
    let tested = build::run(&mut command);
    let skipped = std::fs::read_to_string(&skips).context("count the skipped tests")?;
    println!("\nskipped: {}", skipped.lines().count());
    for line in skipped.lines() {
        println!("  {line}");
    }
    tested
}
