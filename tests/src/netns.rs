//! Network namespaces in the roles of a node and of its pods.
//!
//! A [`Node`] moves the calling thread into a network and a mount namespace of its own; what the
//! thread starts from then on runs on that node. A [`Pod`] is a namespace with a veth to the
//! node's bridge, and a name the way `ip netns` gives one: a file that the namespace is mounted
//! on. When the last process and thread is gone, the kernel takes everything down.

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process::Process;

/// Where the node keeps its files: an existing directory, covered by a tmpfs that only the node's
/// own mount namespace has.
const FILES: &str = "/dev/shm";

/// The node's addresses on the bridge.
const V4: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 1);

/// This thread as a node with a bridge. Clones are handles to the same node; when the last one
/// and the last pod is gone, the thread is back where it came from.
#[derive(Clone)]
pub struct Node(Rc<Inner>);

struct Inner {
    home: Home,
    net: File,
    pods_made: Cell<u16>,
}

/// Where the thread came from.
struct Home {
    net: File,
    mnt: File,
    dir: PathBuf,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let home = &self.home;
        // A thread that shares its root and directory with others (those that read the output of
        // processes started here do, until they end) cannot change its mounts.
        let back = unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(&home.net, CloneFlags::CLONE_NEWNET))
            .and_then(|()| setns(&home.mnt, CloneFlags::CLONE_NEWNS))
            .map_err(std::io::Error::from)
            .and_then(|()| std::env::set_current_dir(&home.dir));
        if let Err(error) = back {
            // Going on would run the next test on a node that is half gone.
            eprintln!("cannot leave the node's namespaces: {error}");
            std::process::abort();
        }
    }
}

impl Node {
    /// Moves this thread into a new node.
    pub fn new() -> Result<Self> {
        let home = Home {
            net: own_netns()?,
            mnt: File::open("/proc/thread-self/ns/mnt").context("open the mount namespace")?,
            dir: std::env::current_dir().context("find the current directory")?,
        };
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .context("make a node's namespaces: needs root, with CAP_SYS_ADMIN")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("make the node's mounts its own")?;
        mount(
            Some("tmpfs"),
            FILES,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=0755"),
        )
        .with_context(|| format!("mount the node's files on {FILES}"))?;
        let node = Self(Rc::new(Inner {
            home,
            net: own_netns()?,
            pods_made: Cell::new(0),
        }));
        std::fs::create_dir(node.netns_dir()).context("make the directory of namespaces")?;
        // The node is its pods' router.
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(Path::new("/proc/sys/net").join(setting), "1")
                .with_context(|| format!("set net/{setting}"))?;
        }
        ip(&format!(
            "link set lo up\n\
            link add cni0 type bridge\n\
            addr add {V4}/16 dev cni0\n\
            addr add {V6}/64 dev cni0 nodad\n\
            link set cni0 up\n"
        ))?;
        Ok(node)
    }

    /// A directory of the node's own.
    pub fn files(&self) -> &'static Path {
        Path::new(FILES)
    }

    /// The directory with one file for each pod's namespace, as `/var/run/netns` is.
    pub fn netns_dir(&self) -> PathBuf {
        self.files().join("netns")
    }

    /// The node's own address on the bridge: where the kubelet's probes come from.
    pub fn v4(&self) -> IpAddr {
        V4.into()
    }

    /// A new pod on this node's bridge.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        self.add(namespace, name, Network::Bridge)
    }

    /// A new pod in a subnet of its own, that the node routes to.
    pub fn routed_pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        self.add(namespace, name, Network::Routed)
    }

    fn add(&self, namespace: &str, name: &str, network: Network) -> Result<Pod> {
        let number = self.0.pods_made.get() + 1;
        self.0.pods_made.set(number);
        let name = match namespace {
            "" => name.to_owned(),
            _ => format!("{namespace}.{name}"),
        };
        let path = self.netns_dir().join(&name);
        let net = make_netns(&path, &self.0.net).with_context(|| format!("make pod {name}"))?;
        let pod = Pod {
            node: self.clone(),
            name,
            path,
            net,
            number,
            network,
        };
        pod.connect(&pod.veth())?;
        Ok(pod)
    }

    /// Runs `work` in the node's namespace, wherever the thread is.
    fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        enter(&self.0.net, work)
    }
}

/// A pod: a network namespace with a name and a veth to the node's bridge. Gone with its guard.
pub struct Pod {
    node: Node,
    name: String,
    path: PathBuf,
    net: File,
    number: u16,
    network: Network,
}

/// Somewhere to run a peer: a network namespace, and who is at home there.
pub trait Place {
    /// The network namespace.
    fn net(&self) -> &File;

    /// Whose certificate a peer shows there.
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

/// How a pod's veth leads to the others, as one or the other CNI does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// All on one bridge.
    Bridge,
    /// Each in a subnet of its own, with the node as its router.
    Routed,
}

impl Pod {
    /// `NAMESPACE.POD`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name without its namespace, which is also its service account's.
    pub fn workload(&self) -> &str {
        self.name
            .split_once('.')
            .map_or(&*self.name, |(_, name)| name)
    }

    /// The file that names its network namespace.
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

    /// The node's addresses as the pod's gateway, and the length of either subnet's prefix.
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

    /// Takes the pod's veth away; [`Pod::connect`] gives it another.
    pub fn disconnect(&self, veth: &str) -> Result<()> {
        self.node.enter(|| ip(&format!("link del {veth}\n")))?
    }

    /// Connects the pod by a veth whose end on the node is called `veth`.
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
        // The veth first and by name: the namespace itself is taken down by the kernel later.
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

fn own_netns() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("open the network namespace")
}

/// Makes a network namespace with `path` as its name; the thread ends up in `back`.
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

/// Runs `work` with this thread in `net`, and brings it back also when `work` panics.
pub fn enter<T>(net: &File, work: impl FnOnce() -> T) -> Result<T> {
    struct Back(File);
    impl Drop for Back {
        fn drop(&mut self) {
            if let Err(error) = setns(&self.0, CloneFlags::CLONE_NEWNET) {
                eprintln!("cannot return to the network namespace: {error}");
                std::process::abort();
            }
        }
    }
    let back = Back(own_netns()?);
    setns(net, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
    let done = work();
    drop(back);
    Ok(done)
}

/// Runs commands of `ip` (iproute2), one a line, in the thread's network namespace.
pub fn ip(commands: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    Process::with_input(command, commands.as_bytes())?
        .succeed(Duration::from_secs(20))
        .with_context(|| format!("ip -batch:\n{commands}"))?;
    Ok(())
}

/// Loads rules of `nft` (nftables) into the thread's network namespace.
pub fn nft(rules: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    Process::with_input(command, rules.as_bytes())?
        .succeed(Duration::from_secs(20))
        .with_context(|| format!("nft:\n{rules}"))?;
    Ok(())
}

/// Whether the thread's network namespace has a TCP socket whose local port, remote port and state
/// are wanted.
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
