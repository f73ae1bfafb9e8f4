//! Network namespaces that act as a node and its pods.
//!
//! A [`Node`] moves the calling thread into its own network and mount namespaces; processes that
//! the thread starts from then on run on that node. A [`Pod`] is a namespace with a veth to the
//! node's bridge, and with a name as `ip netns` assigns it: a file on which the namespace is
//! mounted. When the last process and thread is gone, the kernel removes everything.

mod commands;
mod pod;

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

pub use commands::{ip, nft};
use pod::Network;
pub use pod::{Place, Pod};

/// The directory of the node's files: an existing directory, covered by a tmpfs that only the
/// node's mount namespace has.
const FILES: &str = "/dev/shm";

/// The node's addresses on the bridge.
const V4: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 1);

/// This thread as a node with a bridge. Clones are handles to the same node; when the last handle
/// and the last pod are gone, the thread returns to its original namespaces.
#[derive(Clone)]
pub struct Node(Rc<Inner>);

struct Inner {
    net: File,
    pods_made: Cell<u16>,
    _home: Home,
}

/// The thread's original namespaces, to which it returns when this is dropped.
struct Home {
    net: File,
    mnt: File,
    dir: PathBuf,
}

impl Drop for Home {
    fn drop(&mut self) {
        // A thread that shares its root and directory with others (such as those that read the
        // output of processes started here, until they end) cannot change its mounts.
        let back = unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(&self.net, CloneFlags::CLONE_NEWNET))
            .and_then(|()| setns(&self.mnt, CloneFlags::CLONE_NEWNS))
            .map_err(std::io::Error::from)
            .and_then(|()| std::env::set_current_dir(&self.dir));
        if let Err(error) = back {
            // Otherwise, the next test would run on a partly removed node.
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
            net: own_netns()?,
            pods_made: Cell::new(0),
            _home: home,
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

    /// The node's empty directory, as text.
    pub fn empty_dir(&self) -> Result<String> {
        let path = self.files().join("empty");
        std::fs::create_dir_all(&path)?;
        Ok(path.to_str().context("a path that is no text")?.to_owned())
    }

    /// The directory with one file for each pod's namespace, like `/var/run/netns`.
    pub fn netns_dir(&self) -> PathBuf {
        self.files().join("netns")
    }

    /// The node's own address on the bridge, from which kubelet probes come.
    pub fn v4(&self) -> IpAddr {
        V4.into()
    }

    /// A new pod on this node's bridge.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        self.add(namespace, name, Network::Bridge)
    }

    /// A new pod in its own subnet, to which the node routes.
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
        Pod::new(self, name, number, network)
    }

    /// Runs `work` in the node's namespace, wherever the thread is.
    fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        enter(&self.0.net, work)
    }
}

fn own_netns() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("open the network namespace")
}

/// Runs `work` with this thread in `net`, and returns even if `work` panics.
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
