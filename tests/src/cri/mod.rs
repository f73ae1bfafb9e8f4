//! Pods of a real container runtime: containerd with its CRI plug-in, runc, and the CNI bridge.

mod api;
mod image;

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use api::PodSandboxConfig;

use crate::bin;
use crate::netns::{Node, Place};
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(30);

/// containerd's default socket.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// Runs containerd for as long as it is not paused.
const SUPERVISE: &str = "while :; do
    [ -e paused ] || sh -c 'echo $$ >pid; exec containerd --config config.toml'
    sleep 0.1
done";

/// A containerd that belongs to this node. Its and runc's files under `/run` and `/var/lib` are
/// hidden from the machine, and its pods end with it.
pub struct Runtime {
    process: Process,
    client: api::Client,
    dir: PathBuf,
    /// The control group of its pods, which does not end with a namespace.
    cgroup: String,
    pods_made: u32,
    /// It acts in this node's namespaces.
    _node: Node,
}

impl Runtime {
    /// Starts containerd on this node.
    pub fn start(node: &Node) -> Result<Self> {
        for dir in ["/run", "/var/lib"] {
            let none = None::<&str>;
            mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none)
                .with_context(|| format!("hide {dir}"))?;
        }
        let dir = node.files().join("containerd");
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        configure(&dir)?;
        let mut command = Command::new(bin::reaper()?);
        command.args(["sh", "-c", SUPERVISE]).current_dir(&dir);
        let runtime = Self {
            process: Process::start(command)?,
            client: api::Client::new(SOCKET)?,
            dir: dir.clone(),
            cgroup: format!("mtls-tests-{}", nix::unistd::gettid()),
            pods_made: 0,
            _node: node.clone(),
        };
        runtime.await_answer()?;
        runtime.import(&image::pause(&dir)?)?;
        Ok(runtime)
    }

    /// A new pod.
    pub fn pod(&mut self, namespace: &str, name: &str) -> Result<Sandbox> {
        self.pod_with(namespace, name, &[], &[])
    }

    /// A new pod with labels and annotations.
    pub fn pod_with(
        &mut self,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Result<Sandbox> {
        self.pods_made += 1;
        let uid = format!("uid-{}", self.pods_made);
        let config =
            PodSandboxConfig::new((namespace, name), &uid, &self.cgroup, labels, annotations);
        let id = self
            .client
            .run(config.clone())
            .with_context(|| self.log())?;
        let status = self.client.status(&id)?;
        let net = File::open(&status.netns)
            .with_context(|| format!("open {}", status.netns.display()))?;
        Ok(Sandbox {
            client: self.client.clone(),
            id,
            pid: status.pid,
            ips: status.ips,
            name: name.to_owned(),
            net,
            config,
        })
    }

    /// Leaves the network a single IPv4 address, so that pods get it one after another.
    pub fn give_only(&self, ip: Ipv4Addr) -> Result<()> {
        write_network(
            &self.dir,
            &format!(r#", "rangeStart": "{ip}", "rangeEnd": "{ip}""#),
        )?;
        // The runtime follows the file by itself, without reporting when.
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    }

    /// Stops only containerd: its pods keep running.
    pub fn pause(&self) -> Result<()> {
        std::fs::write(self.dir.join("paused"), "")?;
        let pid = std::fs::read_to_string(self.dir.join("pid")).context("read containerd's pid")?;
        kill(Pid::from_raw(pid.trim().parse()?), Signal::SIGTERM).context("stop containerd")?;
        let deadline = Instant::now() + PATIENCE;
        while self.client.version().is_ok() {
            if Instant::now() > deadline {
                bail!("containerd still answers\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts containerd again.
    pub fn resume(&self) -> Result<()> {
        std::fs::remove_file(self.dir.join("paused"))?;
        self.await_answer()
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.process.err.text()
    }

    fn await_answer(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.client.version() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("containerd is mute:\n{}", self.log())));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn import(&self, archive: &Path) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.args([
            "--address",
            SOCKET,
            "--namespace",
            "k8s.io",
            "image",
            "import",
        ]);
        ctr.arg(archive);
        let imported = Process::start(ctr)?.succeed(PATIENCE);
        imported.with_context(|| format!("import the sandbox image\n{}", self.log()))?;
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Not with SIGKILL: the reaper ends the shims and the pods.
        let _ = self.process.signal(Signal::SIGTERM);
        if let Err(error) = self.process.wait(PATIENCE) {
            eprintln!("cannot stop containerd: {error:#}");
        }
        // One in each hierarchy, empty by now.
        let root = Path::new("/sys/fs/cgroup");
        let below = std::fs::read_dir(root).into_iter().flatten().flatten();
        for hierarchy in below.map(|entry| entry.path()).chain([root.to_owned()]) {
            let _ = std::fs::remove_dir(hierarchy.join(&self.cgroup));
        }
    }
}

/// A pod sandbox, and its network namespace. Removed with its guard.
pub struct Sandbox {
    client: api::Client,
    /// The runtime's id of it.
    pub id: String,
    /// Its process.
    pub pid: u32,
    /// Its addresses, the primary one first.
    pub ips: Vec<IpAddr>,
    name: String,
    net: File,
    config: PodSandboxConfig,
}

impl Sandbox {
    /// Starts a busybox container called `name` in it, with the applet `command`.
    pub fn container(&self, name: &str, command: &[&str]) -> Result<()> {
        let command = [&["/busybox"], command].concat();
        let config = self.config.clone();
        self.client
            .start(&self.id, config, name, image::NAME, &command)
            .with_context(|| format!("start container {name}"))
    }
}

impl Place for Sandbox {
    fn net(&self) -> &File {
        &self.net
    }

    fn workload(&self) -> &str {
        &self.name
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(error) = self.client.remove(&self.id) {
            eprintln!("cannot remove the sandbox of {}: {error:#}", self.name);
        }
    }
}

/// Writes the configurations of containerd and of the network.
fn configure(dir: &Path) -> Result<()> {
    let conf_dir = dir.join("net.d");
    std::fs::create_dir(&conf_dir)?;
    write_network(dir, "")?;
    let config = format!(
        r#"version = 2
        root = "{root}"
        disabled_plugins = ["io.containerd.internal.v1.opt"]
        [plugins."io.containerd.grpc.v1.cri"]
        sandbox_image = "{image}"
        restrict_oom_score_adj = true
        disable_apparmor = true
        [plugins."io.containerd.grpc.v1.cri".cni]
        bin_dir = "/usr/lib/cni"
        conf_dir = "{conf_dir}"
        [plugins."io.containerd.grpc.v1.cri".containerd]
        snapshotter = "native"
        "#,
        root = dir.join("root").display(),
        image = image::NAME,
        conf_dir = conf_dir.display(),
    );
    std::fs::write(dir.join("config.toml"), config)?;
    Ok(())
}

/// Writes the network's configuration, with its IPv4 addresses restricted to `range`.
fn write_network(dir: &Path, range: &str) -> Result<()> {
    let network = format!(
        r#"{{
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{{
                "type": "bridge",
                "bridge": "cri0",
                "isGateway": true,
                "ipam": {{
                    "type": "host-local",
                    "ranges": [
                        [{{ "subnet": "10.44.0.0/16"{range} }}],
                        [{{ "subnet": "fd00:44::/64" }}]
                    ],
                    "routes": [{{ "dst": "0.0.0.0/0" }}, {{ "dst": "::/0" }}]
                }}
            }}]
        }}"#
    );
    std::fs::write(dir.join("net.d/10-bridge.conflist"), network).context("write the pods' network")
}
