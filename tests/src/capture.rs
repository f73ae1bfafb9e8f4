//! Writes what crosses an interface to a pcap file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
};
use nix::sys::time::TimeVal;

/// Longest packet, because segmentation offload may leave merged packets on an interface.
const MAX_PACKET: usize = 1 << 17;

/// A capture that runs until [`Capture::stop`].
pub struct Capture {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<Result<()>>,
}

impl Capture {
    /// Starts to write the packets of `interface`, in this thread's network namespace, to `path`.
    pub fn start(interface: &str, path: &Path) -> Result<Self> {
        let index = if_nametoindex(interface).with_context(|| format!("find {interface}"))?;
        let packets = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("open a packet socket: needs root, with CAP_NET_RAW")?;
        setsockopt(&packets, ReceiveTimeout, &TimeVal::new(0, 50_000))?;
        let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let writer = std::thread::spawn(move || write(&packets, index, file, &told));
        Ok(Self { stop, writer })
    }

    /// Ends the capture when no packet has arrived for a while.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer
            .join()
            .map_err(|_| anyhow!("the capture's writer panicked"))?
    }
}

/// The format is that of draft-ietf-opsawg-pcap: a header, then the packets, each with its own.
fn write(packets: &OwnedFd, index: u32, file: File, stop: &AtomicBool) -> Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut file = BufWriter::new(file);
    for field in [MAGIC, 0x0004_0002, 0, 0, MAX_PACKET as u32, ETHERNET] {
        file.write_all(&field.to_le_bytes())?;
    }
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let (length, from) = match recvfrom::<LinkAddr>(packets.as_raw_fd(), &mut buffer) {
            Ok(received) => received,
            Err(Errno::EAGAIN) if stop.load(Ordering::Relaxed) => return Ok(file.flush()?),
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error).context("read a packet"),
        };
        if from.is_none_or(|from| from.ifindex() != index as usize) {
            continue;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let length = length as u32;
        for field in [time.as_secs() as u32, time.subsec_micros(), length, length] {
            file.write_all(&field.to_le_bytes())?;
        }
        file.write_all(&buffer[..length as usize])?;
    }
}
