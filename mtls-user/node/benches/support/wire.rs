//! A veth for packets that no test run accepts: as large as segmentation offload leaves them, with
//! most of their bytes in fragments.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::libc;
use nix::net::if_::if_nametoindex;

/// The end through which packets leave.
pub(crate) const NAME: &str = "large0";
/// Bytes of `struct virtio_net_hdr` (linux/virtio_net.h).
const OFFLOAD: usize = 10;
const SEGMENT: u16 = 1448;

/// The veth's near end.
pub(crate) struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    /// A veth in this network namespace.
    pub(crate) fn new() -> anyhow::Result<Self> {
        // Only the packets sent here should cross it; a kernel without IPv6 has no such file.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        for command in [
            &["link", "add", NAME, "type", "veth", "peer", "large1"][..],
            &["link", "set", NAME, "up"],
            &["link", "set", "large1", "up"],
        ] {
            let status = Command::new("ip").args(command).status();
            let status = status.context("start ip (Debian: apt-get install iproute2)")?;
            ensure!(status.success(), "ip {} failed", command.join(" "));
        }
        // SAFETY: no memory is passed, and the descriptor has no other owner.
        let socket =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        ensure!(
            socket >= 0,
            "open a packet socket: {}",
            io::Error::last_os_error()
        );
        // SAFETY: as above.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let on: libc::c_int = 1;
        // SAFETY: `on` has the stated length, and outlives the call.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_VNET_HDR,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            )
        };
        ensure!(
            set == 0,
            "set PACKET_VNET_HDR: {}",
            io::Error::last_os_error()
        );
        // SAFETY: all zeros are a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = if_nametoindex(NAME)? as i32;
        address.sll_halen = 6;
        Ok(Self { socket, address })
    }

    /// Sends `frame`, whose TCP header is at `tcp`, as one segment of any length.
    pub(crate) fn send(&self, frame: &[u8], tcp: u32, v6: bool) -> anyhow::Result<()> {
        let mut packet = Vec::with_capacity(OFFLOAD + frame.len());
        // VIRTIO_NET_HDR_F_NEEDS_CSUM; VIRTIO_NET_HDR_GSO_TCPV6 and …_TCPV4.
        packet.extend([1, if v6 { 4 } else { 1 }]);
        for field in [tcp as u16 + 20, SEGMENT, tcp as u16, 16] {
            packet.extend(field.to_ne_bytes());
        }
        packet.extend(frame);
        let protocol = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP } as u16;
        let address = libc::sockaddr_ll {
            sll_protocol: protocol.to_be(),
            ..self.address
        };
        // SAFETY: packet and address have the stated lengths, and outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        let error = io::Error::last_os_error();
        // After the program has run, the stack drops what it cannot split, such as a tagged frame:
        // the caller has to check whether the program saw it.
        let dropped = matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS));
        ensure!(
            sent >= 0 || dropped,
            "send a packet of {}: {error}",
            frame.len()
        );
        Ok(())
    }
}
