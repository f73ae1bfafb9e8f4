//! Commands within a node's namespaces.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::keeper::{self, NODES};
use super::{bin, state};
use crate::build;

/// A command on a node, as the cluster's administrator.
pub(super) fn command(node: &str, program: &OsStr) -> anyhow::Result<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let paths = [bin()].into_iter().chain(env::split_paths(&path));
    let path = env::join_paths(paths).context("put the cluster's programs on the path")?;
    let mut command = Command::new("nsenter");
    command.args(["--target", &keeper::node_pid(node)?.to_string()]);
    command.args(["--net", "--mount", "--pid", "--uts", "--ipc"]);
    let here = env::current_dir().context("find the current directory")?;
    command.arg(format!("--wdns={}", here.display()));
    command.arg("--").arg(program);
    command.env("KUBECONFIG", state().join("pki/admin.kubeconfig"));
    command.env("PATH", path);
    Ok(command)
}

/// Gives every node an image.
pub(crate) fn load(image: &Path) -> anyhow::Result<()> {
    for node in NODES {
        let file = File::open(image).with_context(|| format!("open {}", image.display()))?;
        let mut ctr = command(node, "ctr".as_ref())?;
        ctr.args(["--namespace", "k8s.io", "image", "import", "-"]);
        build::run(ctr.stdin(file).stdout(std::process::Stdio::null()))?;
    }
    Ok(())
}
