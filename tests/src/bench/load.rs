//! Traffic from one pod to another, as fast as possible: blocking sockets and a thread per client,
//! with as little overhead as possible.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::ClientConfig;

use super::datagrams;
use crate::netns::{self, Place, Pod};
use crate::peer::tls::Wire;
use crate::peer::{Mode, Tls, Version};
use crate::pki::{Pki, dns_name};
use crate::scene::at;

/// Longest silence of the server.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const REQUEST: &[u8] =
    b"GET /orders?id=7 HTTP/1.1\r\nhost: db.shop\r\nuser-agent: bench\r\n\r\n";
pub(super) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n\
    ................................";

const SINK: u16 = 7_000;
/// Of UDP: requests, and QUIC.
const ANSWERS: u16 = 7_001;
const QUIC_SINK: u16 = 7_002;
/// Each client has its own server, on this port and the following ones.
const PLAIN: u16 = 8_000;
const SECURE: u16 = 9_000;

/// The kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// One connection's bytes, unencrypted.
    Bulk,
    /// Connect, one request, close: unencrypted, with this many concurrent clients.
    Connect(u16),
    /// The same over TLS 1.3, both ends with certificates, and only full handshakes.
    ConnectTls(u16),
    /// Consecutive requests on one connection, unencrypted.
    KeepAlive,
    /// Consecutive requests over UDP, one datagram each, and so are the responses.
    Datagrams,
    /// One QUIC connection's bytes, both ends with certificates.
    QuicBulk,
}

/// The results.
#[derive(Default, Debug)]
pub struct Done {
    /// Bytes, connections or requests per second.
    pub rate: f64,
    /// Connections made.
    pub connections: u64,
    /// Nanoseconds from each request to its response, in increasing order; for [`Load::KeepAlive`].
    pub latencies: Vec<u64>,
}

impl Done {
    /// The latency in microseconds that this share of the requests did not exceed.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let index = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().checked_sub(1)?;
        Some(self.latencies[index.min(last)] as f64 / 1e3)
    }
}

/// A client's pod, and the servers in the other one.
pub struct Generator {
    net: File,
    server: IpAddr,
    tls: Arc<ClientConfig>,
}

impl Generator {
    /// Starts the servers for up to `clients` concurrent clients; they end with this process.
    pub fn start(web: &Pod, db: &Pod, pki: &Pki, clients: u16) -> Result<Self> {
        let config = tls(pki, db)?.server(Mode::Mtls)?;
        serve(db, SINK, sink)?;
        datagrams::respond(bind(db, ANSWERS)?);
        datagrams::sink(bind(db, QUIC_SINK)?, config.clone())?;
        for client in 0..clients {
            serve(db, PLAIN + client, |tcp| respond(Wire::Plain(tcp)))?;
            let config = config.clone();
            serve(db, SECURE + client, move |tcp| {
                tcp.set_nodelay(true)?;
                respond(Wire::server(tcp, config.clone())?)
            })?;
        }
        // Ports are reusable after a second instead of a minute, so that they do not limit the
        // rate.
        web.enter(|| -> std::io::Result<()> {
            std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")?;
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000")
        })?
        .context("prepare the client's ports")?;
        Ok(Self {
            net: web.net().try_clone()?,
            server: db.v4(),
            tls: tls(pki, web)?.client(Mode::Mtls, false)?,
        })
    }

    /// Loads the pods for this long.
    pub fn run(&self, load: Load, time: Duration) -> Result<Done> {
        match load {
            Load::Bulk => self.inside(|| bulk(at(self.server, SINK), time))?,
            Load::KeepAlive => self.inside(|| keep_alive(at(self.server, PLAIN), time))?,
            Load::Datagrams => {
                let socket = self.inside(|| UdpSocket::bind("0.0.0.0:0"))??;
                datagrams::requests(&socket, at(self.server, ANSWERS), time)
            }
            Load::QuicBulk => {
                let socket = self.inside(|| UdpSocket::bind("0.0.0.0:0"))??;
                datagrams::bulk(socket, at(self.server, QUIC_SINK), self.tls.clone(), time)
            }
            Load::Connect(clients) => self.side_by_side(clients, PLAIN, None, time),
            Load::ConnectTls(clients) => self.side_by_side(clients, SECURE, Some(&self.tls), time),
        }
    }

    /// One unencrypted request on a connection of its own: the client's port, and when it was sent.
    pub fn one(&self) -> Result<(u16, Instant)> {
        self.inside(|| {
            let tcp = TcpStream::connect(at(self.server, PLAIN))?;
            let port = tcp.local_addr()?.port();
            let sent = Instant::now();
            exchange(&mut Wire::Plain(tcp))?;
            Ok((port, sent))
        })?
    }

    fn inside<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        netns::enter(&self.net, work)
    }

    fn side_by_side(
        &self,
        clients: u16,
        first_port: u16,
        tls: Option<&Arc<ClientConfig>>,
        time: Duration,
    ) -> Result<Done> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|client| {
                    let addr = at(self.server, first_port + client);
                    scope.spawn(move || self.inside(|| connections(addr, tls, time))?)
                })
                .collect();
            let mut all = Done::default();
            for thread in threads {
                let Ok(done) = thread.join() else {
                    bail!("a client panicked");
                };
                let done = done?;
                all.rate += done.rate;
                all.connections += done.connections;
            }
            Ok(all)
        })
    }
}

fn tls(pki: &Pki, pod: &Pod) -> Result<Tls> {
    let own = pki.identity(pod.workload())?;
    Ok(Tls {
        version: Some(Version::Tls13),
        ca: Some(pki.ca.clone()),
        cert: Some(own.cert),
        key: Some(own.key),
        alpn: Vec::new(),
    })
}

/// Answers connections to a port, one after the other.
fn serve(
    pod: &Pod,
    port: u16,
    answer: impl Fn(TcpStream) -> Result<()> + Send + 'static,
) -> Result<()> {
    let addr = at(pod.v4(), port);
    let listener = pod
        .enter(|| TcpListener::bind(addr))?
        .with_context(|| format!("listen on {addr}"))?;
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            // The client has the same error, and reports it.
            let _ = tcp.map_err(Into::into).and_then(&answer);
        }
    });
    Ok(())
}

/// A socket of UDP in a pod.
fn bind(pod: &Pod, port: u16) -> Result<UdpSocket> {
    let addr = at(pod.v4(), port);
    pod.enter(|| UdpSocket::bind(addr))?
        .with_context(|| format!("bind to {addr}"))
}

/// Reads everything, and returns how much that was.
fn sink(mut tcp: TcpStream) -> Result<()> {
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0_u64;
    while let n @ 1.. = tcp.read(&mut buffer)? {
        total += n as u64;
    }
    Ok(tcp.write_all(&total.to_be_bytes())?)
}

/// Answers requests until there are no more.
fn respond(mut wire: Wire) -> Result<()> {
    let mut request = [0; REQUEST.len()];
    while wire.read_exact(&mut request).is_ok() {
        wire.write_all(RESPONSE)?;
        wire.flush()?;
    }
    Ok(())
}

fn exchange(wire: &mut Wire) -> Result<()> {
    wire.write_all(REQUEST)?;
    wire.flush()?;
    let mut response = [0; RESPONSE.len()];
    wire.read_exact(&mut response).context("read a response")
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let tcp = TcpStream::connect(addr).with_context(|| format!("connect to {addr}"))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    Ok(tcp)
}

fn bulk(addr: SocketAddr, time: Duration) -> Result<Done> {
    let mut tcp = connect(addr)?;
    let block = vec![b'x'; 1 << 17];
    let start = Instant::now();
    while start.elapsed() < time {
        tcp.write_all(&block)?;
    }
    tcp.shutdown(std::net::Shutdown::Write)?;
    let mut total = [0; 8];
    tcp.read_exact(&mut total).context("read the sum")?;
    Ok(Done {
        rate: u64::from_be_bytes(total) as f64 / start.elapsed().as_secs_f64(),
        connections: 1,
        latencies: Vec::new(),
    })
}

fn keep_alive(addr: SocketAddr, time: Duration) -> Result<Done> {
    let tcp = connect(addr)?;
    tcp.set_nodelay(true)?;
    let mut wire = Wire::Plain(tcp);
    let mut latencies = Vec::with_capacity(1 << 18);
    let start = Instant::now();
    let mut now = start;
    while now - start < time {
        exchange(&mut wire)?;
        let after = Instant::now();
        latencies.push((after - now).as_nanos() as u64);
        now = after;
    }
    latencies.sort_unstable();
    Ok(Done {
        rate: latencies.len() as f64 / (now - start).as_secs_f64(),
        connections: 1,
        latencies,
    })
}

fn connections(addr: SocketAddr, tls: Option<&Arc<ClientConfig>>, time: Duration) -> Result<Done> {
    let name = dns_name("db");
    let start = Instant::now();
    let mut connections = 0;
    while start.elapsed() < time {
        let tcp = connect(addr)?;
        let mut wire = match tls {
            Some(config) => {
                tcp.set_nodelay(true)?;
                Wire::client(tcp, config.clone(), &name)?
            }
            None => Wire::Plain(tcp),
        };
        exchange(&mut wire)?;
        wire.close();
        connections += 1;
    }
    Ok(Done {
        rate: connections as f64 / start.elapsed().as_secs_f64(),
        connections,
        latencies: Vec::new(),
    })
}

/// A connection according to its peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Plain,
    ServerOnly,
    Mutual,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::ServerOnly, Self::Mutual];

    /// The server's.
    pub(super) fn port(self) -> u16 {
        [8_080, 8_443, 9_443][self as usize]
    }

    /// The expected verdict.
    pub(super) fn verdict(self) -> &'static str {
        ["plaintext", "tls", "mtls"][self as usize]
    }
}

/// A client for each kind of connection.
pub(super) struct Clients {
    net: File,
    server: IpAddr,
    /// Only for the kinds that have one.
    tls: [Option<Arc<ClientConfig>>; Kind::ALL.len()],
}

impl Clients {
    /// Starts the servers; they end with this process.
    pub(super) fn start(web: &Pod, db: &Pod, pki: &Pki) -> Result<Self> {
        serve(db, Kind::Plain.port(), |tcp| respond(Wire::Plain(tcp)))?;
        for (kind, mode) in [(Kind::ServerOnly, Mode::Tls), (Kind::Mutual, Mode::Mtls)] {
            let config = tls(pki, db)?.server(mode)?;
            serve(db, kind.port(), move |tcp| {
                tcp.set_nodelay(true)?;
                respond(Wire::server(tcp, config.clone())?)
            })?;
        }
        let client = tls(pki, web)?;
        Ok(Self {
            net: web.net().try_clone()?,
            server: db.v4(),
            tls: [
                None,
                Some(client.client(Mode::Tls, false)?),
                Some(client.client(Mode::Mtls, false)?),
            ],
        })
    }

    /// Makes connections of each kind until told to stop, one after the other, and counts them.
    pub(super) fn run(&self, over: &AtomicBool, made: &[AtomicU64; Kind::ALL.len()]) -> Result<()> {
        std::thread::scope(|scope| {
            let threads = Kind::ALL.map(|kind| {
                scope.spawn(move || {
                    netns::enter(&self.net, || {
                        while !over.load(Ordering::Relaxed) {
                            self.one(kind)?;
                            made[kind as usize].fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(BREATH);
                        }
                        anyhow::Ok(())
                    })?
                })
            });
            for thread in threads {
                let Ok(done) = thread.join() else {
                    bail!("a client panicked");
                };
                done?;
            }
            Ok(())
        })
    }

    fn one(&self, kind: Kind) -> Result<()> {
        let tcp = connect(at(self.server, kind.port()))?;
        tcp.set_nodelay(true)?;
        let mut wire = match &self.tls[kind as usize] {
            Some(config) => Wire::client(tcp, config.clone(), &dns_name("db"))?,
            None => Wire::Plain(tcp),
        };
        exchange(&mut wire)?;
        wire.close();
        Ok(())
    }
}

/// Pause between two connections of a kind, so that the machine is not the limit.
const BREATH: Duration = Duration::from_millis(2);
