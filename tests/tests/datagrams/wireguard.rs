//! WireGuard between two pods, with the implementation that needs no kernel module.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mtls_tests::netns::{Pod, ip};
use mtls_tests::process::Process;
use mtls_tests::skip::{Need, runs_here};
use serde_json::json;

use super::{PATIENCE, Watched, await_udp};

const PORT: u16 = 51_820;

/// One end: its pod, its interface, its address within the tunnel, and its keys.
struct End<'a> {
    pod: &'a Pod,
    name: String,
    inner: Ipv4Addr,
    secret: PathBuf,
    public: String,
}

impl<'a> End<'a> {
    fn new(pod: &'a Pod, number: u8, dir: &Path) -> Result<Self> {
        // Sockets that control interfaces are shared between network namespaces.
        let name = format!("wg{number}-{}", std::process::id());
        let secret = dir.join(format!("{number}.key"));
        let key = pod.start(wg(&["genkey"]))?.succeed(PATIENCE)?;
        std::fs::write(&secret, &key)?;
        let public = pod
            .start_with_input(wg(&["pubkey"]), key.as_bytes())?
            .succeed(PATIENCE)?;
        Ok(Self {
            pod,
            name,
            inner: Ipv4Addr::new(10, 99, 0, number),
            secret,
            public: public.trim().to_owned(),
        })
    }

    fn start(&self, peer: &End<'_>, endpoint: Option<&str>) -> Result<Process> {
        let program = mtls_tests::bin::system("wireguard-go").context("no wireguard-go")?;
        let mut command = Command::new(program);
        command.args(["-f", &self.name]);
        let process = self.pod.start(command)?;
        let deadline = std::time::Instant::now() + PATIENCE;
        let control = format!("/var/run/wireguard/{}.sock", self.name);
        while !Path::new(&control).exists() {
            ensure!(std::time::Instant::now() < deadline, "{}", process.told());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let allowed = format!("{}/32", peer.inner);
        let port = PORT.to_string();
        let mut set = wg(&["set", &self.name, "listen-port", &port, "private-key"]);
        set.arg(&self.secret);
        set.args(["peer", &peer.public, "allowed-ips", &allowed]);
        if let Some(endpoint) = endpoint {
            set.args(["endpoint", endpoint]);
        }
        self.pod.start(set)?.succeed(PATIENCE)?;
        self.pod.enter(|| -> Result<()> {
            ip(&format!("addr add {}/24 dev {}", self.inner, self.name))?;
            ip(&format!("link set {} up", self.name))
        })??;
        Ok(process)
    }
}

fn wg(args: &[&str]) -> Command {
    let mut command = Command::new("wg");
    command.args(args);
    command
}

/// What goes through the tunnel is encrypted, and the tunnel has its name; no mark calls it mutual
/// TLS.
#[test]
fn wireguard_is_sealed_and_has_its_name() -> Result<()> {
    let needs = [
        Need::Root,
        Need::Programs(&["wireguard-go", "wg"]),
        Need::Device("/dev/net/tun"),
    ];
    if !runs_here(&needs) {
        return Ok(());
    }
    let watched = Watched::new(&[])?;
    let (web, db) = (&watched.scene.web, &watched.scene.db);
    let dir = watched.scene.pki.ca.parent().context("no directory")?;
    let (from, to) = (End::new(web, 1, dir)?, End::new(db, 2, dir)?);
    let _server = to.start(&from, None)?;
    await_udp(db, PORT)?;
    let client = from.start(&to, Some(&format!("{}:{PORT}", db.v4())))?;
    let service = db.enter(|| UdpSocket::bind((to.inner, 9_000)))??;
    service.set_read_timeout(Some(PATIENCE))?;
    let asker = web.enter(|| UdpSocket::bind((from.inner, 0)))??;
    asker.set_read_timeout(Some(PATIENCE))?;
    asker.send_to(b"GET /secret HTTP/1.1\r\n\r\n", (to.inner, 9_000))?;
    let mut bytes = [0; 100];
    let (length, peer) = service
        .recv_from(&mut bytes)
        .with_context(|| client.told())?;
    ensure!(bytes[..length].starts_with(b"GET /secret"));
    service.send_to(b"HTTP/1.1 200 OK\r\n\r\n", peer)?;
    asker.recv_from(&mut bytes)?;
    let record = watched.told(PORT, "opaque", "unknown")?;
    assert_eq!(record["protocol"], "wireguard", "{record:#}");
    assert_eq!(record["tls"], json!(null), "{record:#}");
    Ok(())
}
