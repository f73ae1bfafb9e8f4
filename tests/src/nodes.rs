//! The two nodes of `cargo xtask cluster`, which `cargo xtask test --cluster` starts.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::Process;

const PATIENCE: Duration = Duration::from_mins(2);

/// The namespace of the daemons, and the name of the release.
pub const MTLS: &str = "mtls";

/// The cluster, with administrator access.
pub struct Nodes {
    state: PathBuf,
    bin: PathBuf,
}

impl Nodes {
    /// The cluster described by the environment.
    pub fn new() -> Result<Self> {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Ok(Self {
            state: path("MTLS_CLUSTER")
                .context("no cluster: run `cargo xtask test --cluster`, which starts one")?,
            bin: path("MTLS_CLUSTER_BIN").context("MTLS_CLUSTER_BIN is not set")?,
        })
    }

    /// The directory of the cluster's certificates and logs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// A command within a node.
    pub fn command(&self, node: &str, program: &str) -> Result<Command> {
        let pid = self.state.join("run").join(node);
        let pid = std::fs::read_to_string(&pid).with_context(|| format!("find {node}"))?;
        let mut path = self.bin.clone().into_os_string();
        path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
        let mut command = Command::new("nsenter");
        command.args(["--target", pid.trim()]);
        command.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"]);
        command.arg(program).env("PATH", path);
        command.env("KUBECONFIG", self.state.join("pki/admin.kubeconfig"));
        Ok(command)
    }

    /// Moves this thread, and what it starts from then on, into a node's network.
    pub fn join_network(&self, node: &str) -> Result<()> {
        let pid = self.state.join("run").join(node);
        let pid = std::fs::read_to_string(&pid).with_context(|| format!("find {node}"))?;
        let network = std::fs::File::open(format!("/proc/{}/ns/net", pid.trim()))?;
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("enter the network of {node}"))
    }

    /// Runs a command within a node to its end; returns its output.
    pub fn run(&self, node: &str, program: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command(node, program)?;
        command.args(args);
        Process::start(command)?.succeed(PATIENCE)
    }

    /// `kubectl ARGS`.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run("node1", "kubectl", args)
    }

    /// `kubectl ARGS -o json`.
    pub fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).context("read what kubectl wrote")
    }

    /// `kubectl apply` of YAML.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let mut command = self.command("node1", "kubectl")?;
        command.args(["apply", "-f", "-"]);
        Process::with_input(command, yaml.as_bytes())?.succeed(PATIENCE)?;
        Ok(())
    }

    /// `helm ARGS`.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        self.run("node1", "helm", args)
    }

    /// Waits until a Deployment or a DaemonSet is ready.
    pub fn rolled_out(&self, namespace: &str, what: &str) -> Result<()> {
        let args = ["rollout", "status", what, "--timeout=100s", "-n", namespace];
        self.kubectl(&args).with_context(|| self.pods(namespace))?;
        Ok(())
    }

    /// The state of a namespace's pods, for error messages.
    pub fn pods(&self, namespace: &str) -> String {
        let describe = self.kubectl(&["describe", "pods", "-n", namespace]);
        describe.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// The daemon's pod on a node, once it is ready.
    pub fn daemon(&self, node: &str) -> Result<String> {
        let selector = format!("spec.nodeName={node}");
        until(&format!("the daemon of {node}"), || {
            let pods = self.get(&["get", "pods", "-n", MTLS, "--field-selector", &selector])?;
            let ready =
                items(&pods).find(|pod| {
                    let conditions = pod["status"]["conditions"].as_array();
                    conditions.into_iter().flatten().any(|condition| {
                        condition["type"] == "Ready" && condition["status"] == "True"
                    }) && pod["metadata"]["deletionTimestamp"].is_null()
                });
            Ok(ready.and_then(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())))
        })
    }

    /// `mtls ARGS` in the daemon's pod of a node; a kubelet that has just started may not know the
    /// pod yet.
    pub fn mtls(&self, node: &str, args: &[&str]) -> Result<String> {
        until(&format!("an answer of mtls on {node}"), || {
            let pod = self.daemon(node)?;
            let exec = ["exec", "-n", MTLS, &pod, "--", "mtls"];
            Ok(Some(self.kubectl(&[&exec, args].concat())?))
        })
    }

    /// The edges of a node.
    pub fn edges(&self, node: &str) -> Result<Vec<Value>> {
        let text = self.mtls(node, &["edges", "-o", "json"])?;
        let mut list: Value = serde_json::from_str(&text).context("read the edges")?;
        match list["items"].take() {
            Value::Array(edges) => Ok(edges),
            other => bail!("edges are no array: {other}"),
        }
    }

    /// The status of a node's daemon.
    pub fn status(&self, node: &str) -> Result<Value> {
        let text = self.mtls(node, &["status", "-o", "json"])?;
        serde_json::from_str(&text).context("read the status")
    }

    /// Kills a component of a node (`kubelet`, `containerd`, `kube-apiserver`), which is then
    /// restarted.
    pub fn kill(&self, node: &str, part: &str) -> Result<()> {
        let script = format!("kill -KILL $(cat /run/pids/{part})");
        self.run(node, "sh", &["-c", &script])?;
        Ok(())
    }

    /// Suspends or resumes a component of a node.
    pub fn freeze(&self, node: &str, part: &str, frozen: bool) -> Result<()> {
        let signal = if frozen { "STOP" } else { "CONT" };
        let script = format!("kill -{signal} $(cat /run/pids/{part})");
        self.run(node, "sh", &["-c", &script])?;
        Ok(())
    }
}

/// The items of a list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

/// The edge between two workloads.
pub fn edge<'a>(edges: &'a [Value], src: &str, dst: &str) -> Option<&'a Value> {
    edges
        .iter()
        .find(|edge| edge["src"]["name"] == src && edge["dst"]["name"] == dst)
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = None;
    loop {
        match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        if Instant::now() > deadline {
            match last {
                Some(error) => return Err(error.context(format!("waited for {what}"))),
                None => bail!("waited for {what}"),
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
