//! `cargo xtask cluster`: a real Kubernetes of two nodes on this machine.
//!
//! Each node is one process tree in namespaces of its own, below one process that keeps them all
//! (`xtask/cluster/keeper.sh`): nothing of it is on the machine's own network, and all of it goes
//! with that process.

mod busybox;
mod keeper;
mod kube;
mod node;
mod tools;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::build::{self, step};
use crate::{apiserver, image, setup};

pub(crate) use keeper::Keeper;
pub(crate) use kube::kube;
pub(crate) use node::load;

/// What to do with the cluster.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Build and fetch what the cluster needs, and start nothing.
    Build,
    /// Build what is missing and start the cluster; it stays until `down`.
    Up {
        /// Archives of images that the nodes get, as `cargo xtask image` makes them.
        #[arg(long = "image", value_name = "FILE")]
        images: Vec<PathBuf>,
    },
    /// End the cluster; nothing of it is left running.
    Down,
    /// A shell on a node, or a command there: kubectl and helm are at hand.
    Shell {
        /// Which node.
        #[arg(long, default_value = "node1", value_parser = ["node1", "node2"])]
        node: String,
        /// The command; a shell without one.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "COMMAND"
        )]
        command: Vec<OsString>,
    },
    /// Give the nodes an image.
    Load {
        /// Its archive.
        #[arg(value_name = "FILE")]
        image: PathBuf,
    },
}

/// Does it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    as_root()?;
    match &args.verb {
        Verb::Build => prepare(),
        Verb::Up { images } => {
            let keeper = up()?;
            for image in images {
                load(image)?;
            }
            keeper.stay()?;
            eprintln!(
                "\ntwo nodes are Ready. To use them: cargo xtask cluster shell\n\
                 to end them: cargo xtask cluster down"
            );
            Ok(())
        }
        Verb::Down => keeper::down(),
        Verb::Shell { node, command } => {
            let mut shell = node::command(node, command.first().map_or("bash".as_ref(), |c| c))?;
            let error = shell.args(command.iter().skip(1)).exec();
            Err(error).context("start nsenter")
        }
        Verb::Load { image } => load(image),
    }
}

/// Runs the tests that need a cluster, on one that goes with this process.
pub(crate) fn test(profile: &str, rest: &[String]) -> anyhow::Result<()> {
    as_root()?;
    let image = image::make(&image::Args {
        profile: profile.to_owned(),
        ..image::Args::default()
    })?;
    step("building the tests");
    // The selection of all tests: with another one their dependencies would be built anew.
    let tests = [
        "test",
        "--workspace",
        "--exclude",
        "mtls-ebpf",
        "--test",
        "nodes",
    ];
    build::run(build::cargo().args(tests).arg("--no-run"))?;
    let keeper = up()?;
    load(&image)?;
    plugin(profile)?;
    step("testing");
    let mut command = build::cargo();
    command.args(tests).arg("--");
    // One after the other: they look at the same daemons.
    command
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .args(rest);
    command
        .env("MTLS_CLUSTER", state())
        .env("MTLS_CLUSTER_BIN", bin())
        .env(apiserver::DEFINITION, apiserver::definition()?);
    let tested = build::run(&mut command);
    // A failed test is what is to be reported first.
    let ended = keeper.end();
    tested.and(ended)
}

/// Puts the image's program among the cluster's, as kubectl finds it.
fn plugin(profile: &str) -> anyhow::Result<()> {
    let program = image::program(image::Arch::native()?, profile)?;
    let link = bin().join("kubectl-mtls");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(program, &link).with_context(|| format!("make {}", link.display()))
}

fn as_root() -> anyhow::Result<()> {
    if !build::is_root() {
        bail!("nodes made of namespaces need root: sudo -E env \"PATH=$PATH\" cargo xtask …");
    }
    Ok(())
}

fn prepare() -> anyhow::Result<()> {
    step("what a cluster needs");
    setup::nodes()?;
    kube::all()?;
    tools::all()?;
    tools::score()
}

/// Builds what is missing and starts the cluster, which goes with the guard.
pub(crate) fn up() -> anyhow::Result<Keeper> {
    if keeper::running()?.is_some() {
        bail!("the cluster is up already: `cargo xtask cluster down` ends it");
    }
    prepare()?;
    step("certificates and an image with busybox, curl and openssl");
    let pki = state().join("pki");
    if !pki.join("kubelet-node2.kubeconfig").is_file() {
        build::run(&mut keeper::script("pki.sh"))?;
    }
    busybox::image(&state().join("image.tar"))?;
    step("starting two nodes");
    let mut keeper = Keeper::start()?;
    keeper.wait_until_ready()?;
    Ok(keeper)
}

/// Helm's program.
pub(crate) fn helm() -> anyhow::Result<PathBuf> {
    tools::all()?;
    Ok(bin().join("helm"))
}

/// Where everything of the cluster is kept.
pub(crate) fn dir() -> PathBuf {
    build::root().join("target/cluster")
}

/// Certificates, kubeconfigs, images, logs.
pub(crate) fn state() -> PathBuf {
    dir().join("state")
}

/// The programs.
pub(crate) fn bin() -> PathBuf {
    dir().join(kube::RELEASE).join("bin")
}
