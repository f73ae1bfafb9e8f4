//! A real container runtime: containerd with its CRI plugin, runc and the bridge CNI plugin, all
//! of it in directories of the node's own, and pods made by it.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Runtime;

use crate::cri::{Cri, PodSpec};
use crate::netns::{self, Node};
use crate::process::Process;

/// How long containerd may take to start, and a pod to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The only image: busybox, as the sandbox's and as everything else's.
pub const IMAGE: &str = "mtls.test/busybox:1";

/// A running containerd. With its guard go its pods, and whatever else it has left running.
pub struct Containerd {
    node: Node,
    dir: PathBuf,
    process: Option<Process>,
    cri: Cri,
    runtime: Runtime,
}

/// A pod that containerd runs.
pub struct Sandbox {
    /// As containerd calls it.
    pub id: String,
    /// `NAMESPACE`, `NAME`.
    pub name: (String, String),
    /// Its addresses, the first one first.
    pub addresses: Vec<IpAddr>,
    netns: File,
}

impl Containerd {
    /// Starts containerd on this node.
    pub fn start(node: &Node) -> Result<Self> {
        // The name is what its processes are told by in the end.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = node
            .files()
            .join(format!("containerd-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).context("make containerd's directory")?;
        write_config(&dir)?;
        let archive = image(&dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start an async runtime")?;
        let cri = runtime.block_on(async { Cri::new(&dir.join("containerd.sock")) });
        let mut containerd = Self {
            node: node.clone(),
            dir,
            process: None,
            cri,
            runtime,
        };
        containerd.up()?;
        let mut import = Command::new("ctr");
        import.arg("--address").arg(containerd.socket());
        import.args(["--namespace", "k8s.io", "image", "import"]);
        import.arg(&archive);
        Process::start(import)?
            .succeed(PATIENCE)
            .context("import the image")?;
        Ok(containerd)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// Starts it (again).
    pub fn up(&mut self) -> Result<()> {
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.dir.join("config.toml"));
        let process = self.process.insert(Process::start(command)?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.runtime.block_on(self.cri.answers()) {
                return Ok(());
            }
            if Instant::now() > deadline || !process.running()? {
                bail!("containerd did not start\n{}", process.told());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it; its pods go on.
    pub fn down(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM)?;
            process.wait(PATIENCE)?;
        }
        Ok(())
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
        let map = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect()
        };
        let spec = PodSpec {
            namespace: namespace.into(),
            name: name.into(),
            labels: map(labels),
            annotations: map(annotations),
            logs: self.dir.join("logs"),
        };
        let Self { cri, runtime, .. } = self;
        let made = runtime
            .block_on(cri.run(spec))
            .with_context(|| format!("run pod {namespace}/{name}"))?;
        Ok(Sandbox {
            id: made.id,
            name: (namespace.into(), name.into()),
            addresses: made.addresses,
            netns: File::open(&made.netns)
                .with_context(|| format!("open {}", made.netns.display()))?,
        })
    }

    /// A container in a pod, running `command` from the image.
    pub fn container(&mut self, pod: &Sandbox, name: &str, command: &[&str]) -> Result<()> {
        let Self { cri, runtime, .. } = self;
        runtime
            .block_on(cri.container(&pod.id, name, IMAGE, command))
            .with_context(|| format!("run container {name}"))
    }

    /// Ends a pod; its address is free again.
    pub fn delete(&mut self, pod: Sandbox) -> Result<()> {
        let Self { cri, runtime, .. } = self;
        drop(pod.netns);
        runtime.block_on(cri.delete(&pod.id)).context("delete a pod")
    }

    /// Makes this one the node's only address to give, so that the next pod gets it again.
    pub fn give_only(&self, address: &str) -> Result<()> {
        std::fs::write(self.dir.join("net.d/10-pods.conflist"), network(&self.dir, Some(address)))
            .context("write the pods' network")
    }

    fn clean_up(&mut self) -> Result<()> {
        if self.process.is_none() {
            self.up()?;
        }
        self.runtime.block_on(self.cri.delete_all())?;
        self.down()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Err(error) = self.clean_up() {
            eprintln!("containerd's pods could not be deleted: {error:#}");
        }
        // Shims live on by themselves; each has this containerd's socket on its command line.
        let socket = self.socket();
        for process in with_argument(&socket) {
            let _ = kill(process, Signal::SIGKILL);
        }
        let _ = &self.node;
    }
}

impl Sandbox {
    /// Its first address.
    pub fn ip(&self) -> IpAddr {
        self.addresses[0]
    }

    /// Starts a program in the pod.
    pub fn start(&self, command: Command) -> Result<Process> {
        netns::enter(&self.netns, || Process::start(command))?
    }

    /// Waits until something in the pod listens on `port`.
    pub fn await_listener(&self, port: u16) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !netns::enter(&self.netns, || netns::listens(port))? {
            if Instant::now() > deadline {
                bail!("nothing listens on port {port} of {:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// The processes that have `argument` on their command line.
fn with_argument(argument: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let wanted = argument.as_os_str().as_encoded_bytes();
    processes
        .flatten()
        .filter_map(|process| {
            let pid: i32 = process.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(process.path().join("cmdline")).ok()?;
            line.split(|byte| *byte == 0)
                .any(|word| word == wanted)
                .then(|| Pid::from_raw(pid))
        })
        .collect()
}

fn write_config(dir: &Path) -> Result<()> {
    let at = |name: &str| dir.join(name).display().to_string();
    let config = format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true
disable_cgroup = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#,
        root = at("root"),
        state = at("state"),
        socket = at("containerd.sock"),
        cni = at("net.d"),
    );
    for name in ["net.d", "logs"] {
        std::fs::create_dir(dir.join(name)).with_context(|| format!("make {}", at(name)))?;
    }
    std::fs::write(dir.join("config.toml"), config).context("write containerd's configuration")?;
    std::fs::write(dir.join("net.d/10-pods.conflist"), network(dir, None))
        .context("write the pods' network")
}

/// The pods' network: a bridge, and addresses of both families. `only` leaves one IPv4 address.
fn network(dir: &Path, only: Option<&str>) -> String {
    let range = only.map_or(String::new(), |ip| {
        format!(r#", "rangeStart": "{ip}", "rangeEnd": "{ip}""#)
    });
    format!(
        r#"{{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{{
    "type": "bridge", "bridge": "cni1", "isGateway": true, "hairpinMode": true,
    "ipam": {{
      "type": "host-local", "dataDir": "{data}",
      "ranges": [[{{"subnet": "10.88.0.0/16"{range}}}], [{{"subnet": "fd00:88::/64"}}]],
      "routes": [{{"dst": "0.0.0.0/0"}}, {{"dst": "::/0"}}]
    }}
  }}]
}}
"#,
        data = dir.join("addresses").display(),
    )
}

/// Makes an image of busybox alone, as an archive that `docker save` could have written.
fn image(dir: &Path) -> Result<PathBuf> {
    let work = dir.join("image");
    let script = format!(
        r#"set -e
mkdir -p rootfs/bin rootfs/etc rootfs/tmp rootfs/www
cp "$(command -v busybox)" rootfs/bin/busybox
for name in sh sleep httpd wget nc; do ln -s busybox rootfs/bin/$name; done
echo hello > rootfs/www/index.html
tar -C rootfs -cf layer.tar .
sum=$(sha256sum layer.tar | cut -d ' ' -f 1)
printf '{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/bin/sleep","1000000"],"Env":["PATH=/bin"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:%s"]}}}}' "$sum" > config.json
printf '[{{"Config":"config.json","RepoTags":["{IMAGE}"],"Layers":["layer.tar"]}}]' > manifest.json
tar -cf image.tar manifest.json config.json layer.tar
"#
    );
    std::fs::create_dir(&work).context("make the image's directory")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(&work);
    Process::start(shell)?
        .succeed(PATIENCE)
        .context("make an image of busybox")?;
    Ok(work.join("image.tar"))
}
