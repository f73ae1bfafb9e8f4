//! The process that keeps the cluster alive: the cluster ends with it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::{bin, node, state};
use crate::build::{self, step};

const PATIENCE: Duration = Duration::from_mins(3);
/// The names of the nodes.
pub(super) const NODES: [&str; 2] = ["node1", "node2"];

/// Ends the cluster when it is dropped. If this process ends in any other way, the keeper sees the
/// end of its standard input.
pub(crate) struct Keeper {
    child: Child,
    stays: bool,
}

impl Keeper {
    /// Starts it.
    pub(super) fn start() -> anyhow::Result<Self> {
        let run = run_dir();
        fs::create_dir_all(&run).with_context(|| format!("make {}", run.display()))?;
        let _ = fs::remove_dir_all(state().join("log"));
        let log = state().join("keeper.log");
        let log = File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let mut command = script("outer.sh");
        command.stdin(Stdio::piped());
        command
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log);
        // Ctrl-C goes to this process, whose end ends the cluster.
        let child = command
            .process_group(0)
            .spawn()
            .context("start the keeper")?;
        let mut keeper = Self {
            child,
            stays: false,
        };
        let deadline = Instant::now() + PATIENCE;
        for node in NODES {
            let pid = loop {
                if let Some(pid) = node_below(keeper.child.id(), node) {
                    break pid;
                }
                keeper.check(deadline)?;
            };
            write(&run.join(node), &pid.to_string())?;
        }
        write(&run.join("keeper"), &keeper.child.id().to_string())?;
        Ok(keeper)
    }

    /// Waits until the API server reports every node as ready.
    pub(super) fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for part in ["/readyz", ""] {
            loop {
                let mut kubectl = node::command("node1", "kubectl".as_ref())?;
                if part.is_empty() {
                    kubectl.args([
                        "wait",
                        "nodes",
                        "--all",
                        "--for=condition=Ready",
                        "--timeout=5s",
                    ]);
                } else {
                    kubectl.args(["get", "--raw", part]);
                }
                let output = kubectl.output().context("start kubectl")?;
                let said = String::from_utf8_lossy(&output.stdout);
                let all = NODES.iter().all(|node| said.contains(node));
                if output.status.success() && (!part.is_empty() || all) {
                    break;
                }
                self.check(deadline)?;
            }
        }
        Ok(())
    }

    /// Ends the cluster; an error if something of it is left.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        let ended = self.finish();
        self.stays = true;
        ended
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        step("ending the cluster");
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let status = self.child.wait().context("wait for the keeper")?;
        let _ = fs::remove_dir_all(run_dir());
        if !status.success() {
            let log = fs::read_to_string(state().join("keeper.log")).unwrap_or_default();
            bail!("something of the cluster is left:\n{log}");
        }
        Ok(())
    }

    /// Lets the cluster outlive this process.
    pub(super) fn stay(mut self) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("no way to the keeper")?;
        stdin
            .write_all(b"stay\n")
            .context("tell the keeper to stay")?;
        self.stays = true;
        Ok(())
    }

    fn check(&mut self, deadline: Instant) -> anyhow::Result<()> {
        // Not by its command line, which is empty for a moment after its start.
        let ended = self.child.try_wait().context("ask for the keeper")?;
        if Instant::now() > deadline || ended.is_some() {
            let log = fs::read_to_string(state().join("keeper.log")).unwrap_or_default();
            bail!(
                "the nodes did not become ready: see {}\n{log}",
                state().join("log").display()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(error) = self.finish() {
            eprintln!("{error:#}");
        }
    }
}

/// Ends a running cluster, and cleans up after one that was killed.
pub(super) fn down() -> anyhow::Result<()> {
    if let Some(outer) = running()? {
        step("ending the cluster");
        // With PID 1 of the nodes' namespace, everything in it ends; the process above then cleans
        // up.
        for unshare in children(outer) {
            for keeper in children(unshare) {
                build::run(Command::new("kill").args(["-KILL", &keeper.to_string()]))?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while is_keeper(outer) {
            if Instant::now() > deadline {
                bail!("the cluster does not end: process {outer}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    build::run(script("outer.sh").arg("sweep"))?;
    let run = run_dir();
    if run.exists() {
        fs::remove_dir_all(&run).with_context(|| format!("remove {}", run.display()))?;
    }
    Ok(())
}

/// The keeper's process, if there is one.
pub(super) fn running() -> anyhow::Result<Option<u32>> {
    let Ok(pid) = fs::read_to_string(run_dir().join("keeper")) else {
        return Ok(None);
    };
    let pid = pid.trim().parse().context("read the keeper's process id")?;
    Ok(is_keeper(pid).then_some(pid))
}

/// The process of a node, by its id on the machine.
pub(super) fn node_pid(node: &str) -> anyhow::Result<u32> {
    if running()?.is_none() {
        bail!("there is no cluster: `cargo xtask cluster up` starts one");
    }
    let pid = fs::read_to_string(run_dir().join(node)).context("find the node's process")?;
    pid.trim().parse().context("read the node's process id")
}

/// One of the scripts in this directory, with the variables that all of them need.
pub(super) fn script(name: &str) -> Command {
    let scripts = build::root().join("xtask/cluster");
    let mut id = DefaultHasher::new();
    state().hash(&mut id);
    let mut command = Command::new(scripts.join(name));
    command.env("STATE", state()).env("BIN", bin());
    command.env("SCRIPTS", scripts);
    command.env("ID", format!("{:08x}", id.finish() as u32));
    command
}

fn run_dir() -> PathBuf {
    state().join("run")
}

/// Whether the process with this id is ours, and not a later one with the same id.
fn is_keeper(pid: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.contains("xtask/cluster/outer.sh")
}

/// The process that is PID 1 of a node, below the keeper.
fn node_below(pid: u32, node: &str) -> Option<u32> {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut args = command.split('\0');
    if args.any(|arg| arg.ends_with("/node.sh")) && args.next() == Some(node) {
        return Some(pid);
    }
    children(pid)
        .into_iter()
        .find_map(|child| node_below(child, node))
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
