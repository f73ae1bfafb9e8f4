//! A real Kubernetes API: etcd, and a kube-apiserver, whose path `MTLS_KUBE_APISERVER` gives.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::netns::Node;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_mins(2);
const PORT: u16 = 16_443;

/// How to come by a kube-apiserver.
pub const REMEDY: &str = "set MTLS_KUBE_APISERVER to a kube-apiserver, and install etcd-server \
                          and curl; one is built from the Go module \
                          k8s.io/kubernetes, package cmd/kube-apiserver, with its staging modules replaced by \
                          those published of the same release";

/// etcd and a kube-apiserver on the loopback of a node; they end with their guard.
pub struct Cluster {
    dir: PathBuf,
    api: Option<Process>,
    _etcd: Process,
}

impl Cluster {
    /// Starts both.
    pub fn start(node: &Node) -> Result<Self> {
        let dir = node.files().join("cluster");
        std::fs::create_dir(&dir).context("make the cluster's directory")?;
        let mut keys = Command::new("openssl");
        keys.args(["genrsa", "-out"]).arg(dir.join("sa.key"));
        keys.arg("2048");
        Process::start(keys)?.succeed(PATIENCE)?;
        // Token, user, id, groups: an administrator, and the daemon with what it is granted.
        let tokens = "admin,admin,1,system:masters\ndaemon,mtls,2\n";
        std::fs::write(dir.join("tokens"), tokens).context("write tokens")?;
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(dir.join("etcd"));
        etcd.args(["--listen-client-urls", "http://127.0.0.1:12379"]);
        etcd.args(["--advertise-client-urls", "http://127.0.0.1:12379"]);
        etcd.args(["--listen-peer-urls", "http://127.0.0.1:12380"]);
        etcd.arg("--unsafe-no-fsync");
        let mut cluster = Self {
            _etcd: Process::start(etcd)?,
            api: None,
            dir,
        };
        cluster.up()?;
        cluster.grant(&["pods", "services", "namespaces", "endpointslices"])?;
        Ok(cluster)
    }

    /// Starts the kube-apiserver (again).
    pub fn up(&mut self) -> Result<()> {
        let program = std::env::var_os("MTLS_KUBE_APISERVER").context(REMEDY)?;
        let mut command = Command::new(program);
        let key = self.dir.join("sa.key");
        command.args(["--etcd-servers", "http://127.0.0.1:12379"]);
        command.args([
            "--bind-address",
            "127.0.0.1",
            "--advertise-address",
            "10.42.0.1",
        ]);
        command.args(["--secure-port", &PORT.to_string()]);
        command.arg("--cert-dir").arg(self.dir.join("certs"));
        command
            .arg("--token-auth-file")
            .arg(self.dir.join("tokens"));
        command.args(["--authorization-mode", "RBAC"]);
        command.args(["--service-account-issuer", "https://kubernetes.test"]);
        command.arg("--service-account-signing-key-file").arg(&key);
        command.arg("--service-account-key-file").arg(&key);
        command.args(["--service-cluster-ip-range", "10.96.0.0/16"]);
        // Without controllers, nobody would make the accounts that it waits for.
        command.args(["--disable-admission-plugins", "ServiceAccount"]);
        let mut process = Process::start(command)?;
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            if Instant::now() > deadline || !process.running()? {
                bail!("the kube-apiserver did not start\n{}", process.told());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.api = Some(process);
        Ok(())
    }

    /// Ends the kube-apiserver.
    pub fn down(&mut self) {
        self.api = None;
    }

    /// A kubeconfig of the daemon's.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.dir.join("kubeconfig");
        let server = format!("https://127.0.0.1:{PORT}");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c",
                "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
            "users": [{"name": "u", "user": {"token": "daemon"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string()).context("write a kubeconfig")?;
        Ok(path)
    }

    /// Grants the daemon list and watch on these and on nothing else.
    pub fn grant(&self, resources: &[&str]) -> Result<()> {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "mtls"},
            "rules": [{"apiGroups": ["", "discovery.k8s.io"], "resources": resources,
                "verbs": ["list", "watch"]}],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "mtls"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "mtls"},
            "subjects": [{"kind": "User", "name": "mtls"}],
        });
        self.apply(&format!("{rbac}/clusterroles"), &role)?;
        self.apply(&format!("{rbac}/clusterrolebindings"), &binding)
    }

    /// Makes an object in a collection, or changes it to this.
    pub fn apply(&self, collection: &str, object: &Value) -> Result<()> {
        let name = object["metadata"]["name"].as_str().context("no name")?;
        let path = format!("{collection}/{name}?fieldManager=test&force=true");
        let answer = ask(
            "PATCH",
            &path,
            &object.to_string(),
            "application/apply-patch+yaml",
        )?;
        accepted(&answer)
    }

    /// Sets the status of a pod, as its kubelet would.
    pub fn set_status(&self, namespace: &str, pod: &str, status: &Value) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/status");
        let patch = json!({"status": status}).to_string();
        let answer = ask("PATCH", &path, &patch, "application/merge-patch+json")?;
        accepted(&answer)
    }

    /// Deletes an object at once.
    pub fn delete(&self, path: &str) -> Result<()> {
        let path = format!("{path}?gracePeriodSeconds=0");
        let answer = ask("DELETE", &path, "", "application/json")?;
        accepted(&answer)
    }
}

fn accepted(answer: &str) -> Result<()> {
    let answer: Value = serde_json::from_str(answer).context("read the API's answer")?;
    if answer["kind"] == "Status" && answer["status"] == "Failure" {
        bail!("the API refused: {}", answer["message"]);
    }
    Ok(())
}

fn ask(method: &str, path: &str, body: &str, kind: &str) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args([
        "--insecure",
        "--silent",
        "--show-error",
        "--request",
        method,
    ]);
    curl.args(["--header", "Authorization: Bearer admin"]);
    curl.args(["--header", &format!("Content-Type: {kind}")]);
    if !body.is_empty() {
        curl.args(["--data-binary", "@-"]);
    }
    curl.arg(format!("https://127.0.0.1:{PORT}{path}"));
    Process::with_input(curl, body.as_bytes())?.succeed(PATIENCE)
}

fn ready() -> bool {
    ask("GET", "/readyz", "", "application/json").is_ok_and(|answer| answer == "ok")
}
