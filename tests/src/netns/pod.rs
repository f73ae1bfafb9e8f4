//! A pod: a network namespace with a name and a veth to the node.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::{Node, V4, V6, enter, ip, own_netns};
use crate::process::Process;

/// A pod: a network namespace with a name and a veth to the node's bridge. Gone with its guard.
pub struct Pod {
    node: Node,
    name: String,
    path: PathBuf,
    net: File,
    number: u16,
    network: Network,
}

/// A place to run a peer: a network namespace with a workload identity.
pub trait Place {
    /// The network namespace.
    fn net(&self) -> &File;

    /// The workload whose certificate a peer uses there.
    fn workload(&self) -> &str;

    /// Starts a program there.
    fn start(&self, command: Command) -> Result<Process> {
        enter(self.net(), || Process::start(command))?
    }
}

impl Place for Pod {
    fn net(&self) -> &File {
        &self.net
    }

    fn workload(&self) -> &str {
        Pod::workload(self)
    }
}

/// How a pod's veth is connected, as in different CNIs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// All pods on one bridge.
    Bridge,
    /// Each pod in its own subnet, with the node as its router.
    Routed,
}

impl Pod {
    pub(super) fn new(node: &Node, name: String, number: u16, network: Network) -> Result<Self> {
        let path = node.netns_dir().join(&name);
        let net = make_netns(&path, &node.0.net).with_context(|| format!("make pod {name}"))?;
        let pod = Self {
            node: node.clone(),
            name,
            path,
            net,
            number,
            network,
        };
        pod.connect(&pod.veth())?;
        Ok(pod)
    }

    /// `NAMESPACE.POD`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name without its namespace, which is also the name of its service account.
    pub fn workload(&self) -> &str {
        self.name
            .split_once('.')
            .map_or(&*self.name, |(_, name)| name)
    }

    /// The file with the name of its network namespace.
    pub fn netns(&self) -> &Path {
        &self.path
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> IpAddr {
        let [high, low] = self.number.saturating_add(256).to_be_bytes();
        match self.network {
            Network::Bridge => Ipv4Addr::new(10, 42, high, low).into(),
            Network::Routed => Ipv4Addr::new(10, 43, low, 2).into(),
        }
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> IpAddr {
        match self.network {
            Network::Bridge => Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 1, self.number).into(),
            Network::Routed => Ipv6Addr::new(0xfd00, 0x43, self.number, 0, 0, 0, 0, 2).into(),
        }
    }

    /// The node's addresses as the pod's gateway, and each subnet's prefix length.
    fn gateway(&self) -> (IpAddr, IpAddr, u8, u8) {
        match (self.network, self.v4(), self.v6()) {
            (Network::Routed, IpAddr::V4(v4), IpAddr::V6(v6)) => (
                Ipv4Addr::from_bits(v4.to_bits() - 1).into(),
                Ipv6Addr::from_bits(v6.to_bits() - 1).into(),
                24,
                64,
            ),
            _ => (V4.into(), V6.into(), 16, 64),
        }
    }

    /// The node's end of its veth.
    pub fn veth(&self) -> String {
        format!("veth{:04x}", self.number)
    }

    /// Removes the pod's veth; [`Pod::connect`] creates another one.
    pub fn disconnect(&self, veth: &str) -> Result<()> {
        self.node.enter(|| ip(&format!("link del {veth}\n")))?
    }

    /// Connects the pod with a veth whose end on the node is called `veth`.
    pub fn connect(&self, veth: &str) -> Result<()> {
        let (v4, v6, v4_prefix, v6_prefix) = self.gateway();
        let to_node = match self.network {
            Network::Bridge => format!("link set {veth} master cni0\n"),
            Network::Routed => format!(
                "addr add {v4}/{v4_prefix} dev {veth}\naddr add {v6}/{v6_prefix} dev {veth} nodad\n"
            ),
        };
        self.node.enter(|| {
            ip(&format!(
                "link add {veth} type veth peer name eth0 netns {}\n\
                 {to_node}\
                 link set {veth} up\n",
                self.path.display()
            ))
        })??;
        self.enter(|| {
            ip(&format!(
                "link set lo up\n\
                 addr add {}/{v4_prefix} dev eth0\n\
                 addr add {}/{v6_prefix} dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default via {v4}\n\
                 route add default via {v6}\n",
                self.v4(),
                self.v6()
            ))
        })?
    }

    /// Runs `work` with this thread in the pod's network namespace.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        enter(&self.net, work)
    }

    /// Starts a program in the pod.
    pub fn start(&self, command: Command) -> Result<Process> {
        Place::start(self, command)
    }

    /// Starts a program in the pod with `input` as its standard input.
    pub fn start_with_input(&self, command: Command, input: &[u8]) -> Result<Process> {
        self.enter(|| Process::with_input(command, input))?
    }

    /// Waits until something in the pod listens on `port`.
    pub fn await_listener(&self, port: u16, patience: Duration) -> Result<()> {
        const LISTEN: &str = "0A";
        self.await_socket(patience, |local, _, state| local == port && state == LISTEN)
            .with_context(|| format!("nothing listens on port {port} of {}", self.name))
    }

    /// Waits until the pod has a connection to `port`.
    pub fn await_connection(&self, port: u16, patience: Duration) -> Result<()> {
        const ESTABLISHED: &str = "01";
        self.await_socket(patience, |_, remote, state| {
            remote == port && state == ESTABLISHED
        })
        .with_context(|| format!("{} is not connected to port {port}", self.name))
    }

    fn await_socket(
        &self,
        patience: Duration,
        wanted: impl Fn(u16, u16, &str) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.enter(|| any_socket(&wanted))? {
            if Instant::now() > deadline {
                bail!("no such socket after {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // The veth first and by name: the kernel removes the namespace itself later.
        if let Err(error) = self
            .node
            .enter(|| ip(&format!("link del {}\n", self.veth())))
        {
            eprintln!("cannot delete the veth of {}: {error:#}", self.name);
        }
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Creates a network namespace with `path` as its name; the thread ends up in `back`.
fn make_netns(path: &Path, back: &File) -> Result<File> {
    File::create_new(path).with_context(|| format!("make {}", path.display()))?;
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    let made = own_netns();
    let none = None::<&str>;
    let named = mount(
        Some("/proc/thread-self/ns/net"),
        path,
        none,
        MsFlags::MS_BIND,
        none,
    );
    setns(back, CloneFlags::CLONE_NEWNET).context("return to the node's namespace")?;
    named.with_context(|| format!("mount a network namespace on {}", path.display()))?;
    made
}

/// Whether the thread's network namespace has a TCP socket with the given local port, remote port
/// and state.
fn any_socket(wanted: impl Fn(u16, u16, &str) -> bool) -> bool {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .any(|table| {
            table.lines().skip(1).any(|line| {
                let columns: Vec<_> = line.split_ascii_whitespace().collect();
                let [_, local, remote, state, ..] = columns[..] else {
                    return false;
                };
                port(local)
                    .zip(port(remote))
                    .is_some_and(|(local, remote)| wanted(local, remote, state))
            })
        })
}
