//! A network namespace for a node and one for a pod, joined by a veth; gone when dropped.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod bench;
pub(crate) mod packet;
pub(crate) mod tls;
pub(crate) mod watch;

use std::{
    fs::File,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    thread,
};

use mtls_core::wire::{Direction, Endpoint, Segment};
use mtls_node::kernel::Sample;
use nix::sched::{CloneFlags, setns, unshare};

/// Calls `f` with samples that belong to TCP connections.
pub(crate) fn segments(mut f: impl FnMut(&Segment<'_>)) -> impl FnMut(Sample<'_>) {
    move |sample| {
        if let Sample::Segment(segment) = sample {
            f(segment);
        }
    }
}

/// Runs `f` in a namespace, on a thread of its own.
pub(crate) fn within<T: Send>(netns: &File, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            f()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A namespace that lives as long as the file is open.
pub(crate) fn netns() -> File {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        ip("link set lo up");
        File::open("/proc/thread-self/ns/net").expect("open the namespace")
    });
    thread.join().expect("make a namespace")
}

/// The path by which `ip` finds the namespace.
pub(crate) fn path(netns: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd())
}

/// Runs `ip`, in the namespace of the calling thread.
pub(crate) fn ip(args: &str) {
    let output = Command::new("ip")
        .args(args.split_whitespace())
        .output()
        .expect("start ip (package iproute2)");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args}: {error}");
}

/// A node with one pod: `veth0` (10.9.0.1, fd09::1) and, in the pod, `eth0` (10.9.0.2, fd09::2).
pub(crate) struct Node {
    pub(crate) node: File,
    pub(crate) pod: File,
}

impl Node {
    pub(crate) fn new() -> Self {
        let (node, pod) = (netns(), netns());
        let this = Self { node, pod };
        within(&this.node, || this.veth("veth0"));
        this.setup("veth0", "eth0", "10.9.0", "fd09:");
        this
    }

    /// Creates a veth in the node's namespace, connected to `eth0` in the pod's.
    pub(crate) fn veth(&self, name: &str) {
        let pod = path(&self.pod);
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {pod}"
        ));
    }

    /// Gives addresses to a pair of interfaces and sets them up.
    pub(crate) fn setup(&self, host: &str, pod: &str, v4: &str, v6: &str) {
        for (netns, interface, last) in [(&self.node, host, 1), (&self.pod, pod, 2)] {
            within(netns, || {
                ip(&format!("addr add {v4}.{last}/24 dev {interface}"));
                ip(&format!("-6 addr add {v6}:{last}/64 dev {interface} nodad"));
                ip(&format!("link set {interface} up"));
            });
        }
    }

    /// The index of an interface of the node.
    pub(crate) fn index(&self, name: &str) -> u32 {
        within(&self.node, || {
            nix::net::if_::if_nametoindex(name).expect("the interface is there")
        })
    }

    /// One connection from the node to the pod at `ip`: the client sends `request` and closes, the
    /// server sends `response` and closes. `opened` runs when the connection is established.
    /// Returns the two ends.
    pub(crate) fn exchange(
        &self,
        ip: &str,
        request: &[u8],
        response: &[u8],
        opened: impl FnOnce(),
    ) -> (Endpoint, Endpoint) {
        let ip: IpAddr = ip.parse().expect("an address");
        let listener = within(&self.pod, || TcpListener::bind((ip, 0)).expect("listen"));
        let server: SocketAddr = listener.local_addr().expect("an address");
        let mut client = within(&self.node, || TcpStream::connect(server).expect("connect"));
        let local = client.local_addr().expect("an address");
        let (mut accepted, _) = listener.accept().expect("accept");
        opened();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut all = Vec::new();
                accepted.read_to_end(&mut all).expect("read the request");
                assert_eq!(all, request);
                accepted.write_all(response).expect("respond");
                drop(accepted);
            });
            client.write_all(request).expect("send the request");
            client.shutdown(std::net::Shutdown::Write).expect("close");
            let mut all = Vec::new();
            client.read_to_end(&mut all).expect("read the response");
            assert_eq!(all, response);
        });
        (local.into(), server.into())
    }
}

/// An owned [`Segment`].
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) link: u32,
    pub(crate) direction: Direction,
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) len: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) isn: (Option<u32>, Option<u32>),
    pub(crate) midstream: bool,
    pub(crate) again: bool,
    pub(crate) lost: bool,
    pub(crate) foreign: bool,
    pub(crate) time: u64,
}

impl From<&Segment<'_>> for Seen {
    fn from(segment: &Segment<'_>) -> Self {
        Self {
            link: segment.link,
            direction: segment.direction,
            src: segment.src,
            dst: segment.dst,
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags.0,
            len: segment.len,
            payload: segment.payload.to_vec(),
            isn: segment.isn,
            midstream: segment.midstream,
            again: segment.again,
            lost: segment.lost,
            foreign: segment.foreign,
            time: segment.time,
        }
    }
}

/// The captured bytes of the stream from `src`, by position; `None` is a gap.
pub(crate) fn stream(seen: &[Seen], src: Endpoint) -> Vec<Option<u8>> {
    let mut bytes = Vec::new();
    for segment in seen.iter().filter(|segment| segment.src == src) {
        let isn = segment.isn.0.expect("the initial sequence number is known");
        let syn = u32::from(segment.flags & 2 != 0);
        let offset = segment
            .seq
            .wrapping_add(syn)
            .wrapping_sub(isn)
            .wrapping_sub(1) as usize;
        if bytes.len() < offset + segment.payload.len() {
            bytes.resize(offset + segment.payload.len(), None);
        }
        for (slot, byte) in bytes[offset..].iter_mut().zip(&segment.payload) {
            assert!(
                slot.is_none_or(|before| before == *byte),
                "two bytes at one position"
            );
            *slot = Some(*byte);
        }
    }
    bytes
}
