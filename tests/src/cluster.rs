//! A real Kubernetes API: etcd, and a kube-apiserver, whose path is in `MTLS_KUBE_APISERVER`. The
//! daemon has the same access as in a cluster: a service account's token and the documented role.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::netns::Node;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_mins(2);
const PORT: u16 = 16_443;

/// How to get a kube-apiserver.
const REMEDY: &str = "no kube-apiserver: run `cargo xtask apiserver`, which builds one, or set \
                      MTLS_KUBE_APISERVER to the path of your own";
/// Server-side apply, overriding conflicts.
const AS_ITS_OWNER: &str = "fieldManager=test&force=true";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// The documented role: the page's only YAML block.
pub fn documented_role() -> Result<&'static str> {
    let page = include_str!("../../docs/names.md");
    let (_, rest) = page
        .split_once("```yaml\n")
        .context("docs/names.md has no role")?;
    let (role, _) = rest.split_once("```").context("the role has no end")?;
    Ok(role)
}

/// etcd and a kube-apiserver on the loopback interface of a node; they end with their guard.
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
        // Token, user, id, groups: a user that creates what a cluster's controllers and kubelets
        // would.
        let tokens = "admin,admin,1,system:masters\n";
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
        cluster.apply("/api/v1/namespaces", &object("v1", "Namespace", "mtls"))?;
        let account = object("v1", "ServiceAccount", "mtls");
        cluster.apply("/api/v1/namespaces/mtls/serviceaccounts", &account)?;
        cluster.grant(documented_role()?)?;
        let mut binding = object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "mtls");
        binding["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole", "name": "mtls"});
        binding["subjects"] = json!([{"kind": "ServiceAccount", "name": "mtls",
            "namespace": "mtls"}]);
        cluster.apply(&format!("{RBAC}/clusterrolebindings"), &binding)?;
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

    /// Stops the kube-apiserver.
    pub fn down(&mut self) {
        self.api = None;
    }

    /// A kubeconfig with the token of the daemon's service account.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.dir.join("kubeconfig");
        let server = format!("https://127.0.0.1:{PORT}");
        let authority = self.dir.join("certs/apiserver.crt");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c",
                "cluster": {"server": server, "certificate-authority": authority}}],
            "users": [{"name": "u", "user": {"token": token()?}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string()).context("write a kubeconfig")?;
        Ok(path)
    }

    /// Replaces the daemon's role, given in YAML.
    pub fn grant(&self, role: &str) -> Result<()> {
        let path = format!("{RBAC}/clusterroles/mtls?{AS_ITS_OWNER}");
        accepted(&ask("PATCH", &path, role, "application/apply-patch+yaml")?)?;
        Ok(())
    }

    /// Creates or replaces an object in a collection; returns the result.
    pub fn apply(&self, collection: &str, object: &Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str().context("no name")?;
        let path = format!("{collection}/{name}?{AS_ITS_OWNER}");
        let answer = ask(
            "PATCH",
            &path,
            &object.to_string(),
            "application/apply-patch+yaml",
        )?;
        accepted(&answer)
    }

    /// Defines a kind without a schema, as installing a mesh does, and waits until it is served.
    pub fn define(&self, group: &str, kind: &str, plural: &str, version: &str) -> Result<()> {
        let mut made = object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &format!("{plural}.{group}"),
        );
        made["spec"] = json!({
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}],
        });
        self.apply(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &made,
        )?;
        let deadline = Instant::now() + PATIENCE;
        let path = format!("/apis/{group}/{version}/{plural}");
        while self.get(&path).is_err() {
            if Instant::now() > deadline {
                bail!("{plural} are not served");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Replaces the object at a path, given in YAML.
    pub fn apply_yaml(&self, path: &str, text: &str) -> Result<()> {
        let path = format!("{path}?{AS_ITS_OWNER}");
        accepted(&ask("PATCH", &path, text, "application/apply-patch+yaml")?)?;
        Ok(())
    }

    /// Patches an object.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let answer = ask("PATCH", path, &patch, "application/merge-patch+json")?;
        accepted(&answer)?;
        Ok(())
    }

    /// The object that the API has at a path.
    pub fn get(&self, path: &str) -> Result<Value> {
        accepted(&ask("GET", path, "", "application/json")?)
    }

    /// Creates a pod that runs on node `n1`, as its kubelet would.
    pub fn run_pod(&self, namespace: &str, mut pod: Value, ip: &str) -> Result<()> {
        let name = pod["metadata"]["name"].as_str().context("no name")?;
        let name = name.to_owned();
        pod["spec"]["nodeName"] = "n1".into();
        if pod["spec"]["containers"].is_null() {
            pod["spec"]["containers"] = json!([{"name": "app", "image": "x"}]);
        }
        self.apply(&format!("/api/v1/namespaces/{namespace}/pods"), &pod)?;
        let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]});
        self.set_status(namespace, &name, &status)
    }

    /// Sets the status of a pod, as its kubelet would.
    pub fn set_status(&self, namespace: &str, pod: &str, status: &Value) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/status");
        let patch = json!({"status": status}).to_string();
        let answer = ask("PATCH", &path, &patch, "application/merge-patch+json")?;
        accepted(&answer)?;
        Ok(())
    }

    /// Deletes an object immediately.
    pub fn delete(&self, path: &str) -> Result<()> {
        let path = format!("{path}?gracePeriodSeconds=0");
        let answer = ask("DELETE", &path, "", "application/json")?;
        accepted(&answer)?;
        Ok(())
    }
}

/// An object with only a name.
pub fn object(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
}

/// A token of the daemon's service account, requested as a kubelet does.
fn token() -> Result<String> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {}});
    let path = "/api/v1/namespaces/mtls/serviceaccounts/mtls/token";
    let answer = accepted(&ask(
        "POST",
        path,
        &request.to_string(),
        "application/json",
    )?)?;
    let token = answer["status"]["token"].as_str();
    Ok(token.context("an answer without a token")?.to_owned())
}

/// The API's answer, unless it is an error.
fn accepted(answer: &str) -> Result<Value> {
    let answer: Value = serde_json::from_str(answer).context("read the API's answer")?;
    if answer["kind"] == "Status" && answer["status"] == "Failure" {
        bail!("the API refused: {}", answer["message"]);
    }
    Ok(answer)
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
