//! `cargo xtask cluster`: a real two-node Kubernetes cluster on this machine.
//!
//! Each node is a process tree in its own namespaces, below one process that keeps all of them
//! alive (`xtask/cluster/keeper.sh`): nothing of it is on the machine's own network, and all of it
//! ends with that process.

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
pub(crate) use tools::GoTool;

/// What to do with the cluster.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Build and download what the cluster needs, without starting anything.
    Build,
    /// Build what is missing and start the cluster, which runs until `down`.
    Up {
        /// Image archives to load on the nodes, as `cargo xtask image` creates them.
        #[arg(long = "image", value_name = "FILE")]
        images: Vec<PathBuf>,
    },
    /// Stop the cluster; nothing of it keeps running.
    Down,
    /// A shell or a command on a node, with kubectl and helm.
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
    /// Load an image on the nodes.
    Load {
        /// Its archive.
        #[arg(value_name = "FILE")]
        image: PathBuf,
    },
}

/// Runs the command.
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

/// Runs the tests that need a cluster, on one that ends with this process.
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
    // One after the other, because they use the same daemons.
    command
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .args(rest);
    command
        .env("MTLS_CLUSTER", state())
        .env("MTLS_CLUSTER_BIN", bin())
        .env(apiserver::DEFINITION, apiserver::definition()?);
    let tested = build::run(&mut command);
    // A failed test is reported first.
    let ended = keeper.end();
    tested.and(ended)
}

/// Installs the image's program among the cluster's, where kubectl finds it.
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
    GoTool::KubeScore.build().map(drop)
}

/// Builds what is missing and starts the cluster, which ends with the guard.
pub(crate) fn up() -> anyhow::Result<Keeper> {
    if keeper::running()?.is_some() {
        bail!("the cluster is up already: `cargo xtask cluster down` ends it");
    }
    prepare()?;
    step("certificates and an image for the tests' pods");
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

/// The directory of everything that belongs to the cluster.
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
