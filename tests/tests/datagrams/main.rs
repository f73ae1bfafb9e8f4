//! QUIC, DTLS, DNS and other UDP from real stacks between two pods, as the daemon reports them.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mtls_tests::daemon::{Daemon, Tap};
use mtls_tests::netns::Pod;
use mtls_tests::pki::dns_name;
use mtls_tests::process::Process;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::{Value, json};

mod wireguard;

const PATIENCE: Duration = Duration::from_secs(20);
/// A flow ends after two seconds of silence, and its end is reported then.
const QUICK: [&str; 2] = ["--datagram-timeout", "2s"];

/// A scene with a tap.
struct Watched {
    tap: Tap,
    daemon: Daemon,
    scene: Scene,
}

impl Watched {
    fn new(args: &[&str]) -> Result<Self> {
        let scene = Scene::new()?;
        let daemon = Daemon::start_with(&scene.node, &[&QUICK, args].concat())?;
        let tap = daemon.tap()?;
        Ok(Self { tap, daemon, scene })
    }

    /// Starts a server in the server's pod; it is listening when this returns.
    fn serve(&self, port: u16, mut command: Command, args: &[&str]) -> Result<Process> {
        command.args(args);
        let server = self.scene.db.start(command)?;
        await_udp(&self.scene.db, port).with_context(|| server.told())?;
        Ok(server)
    }

    /// The tap's report at the end of the flow to `port`.
    fn closed(&self, port: u16) -> Result<Value> {
        self.tap.find(|record| {
            record["dst"]["port"] == port
                && record["transport"] == "udp"
                && record["event"] == "closed"
        })
    }

    /// The tap's report and the edge of the one flow to `port`, once it has ended.
    fn told(&self, port: u16, verdict: &str, mark: &str) -> Result<Value> {
        let record = self.closed(port)?;
        assert_eq!(record["verdict"], verdict, "{record:#}");
        assert_eq!(record["src"]["name"], "web", "{record:#}");
        assert_eq!(record["dst"]["name"], "db", "{record:#}");
        assert_eq!(record["lost"], false, "{record:#}");
        let edge = self
            .daemon
            .await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
        assert_eq!(edge["transport"], "udp", "{edge:#}");
        assert_eq!(edge["dst"]["port"], port, "{edge:#}");
        assert_eq!(edge["verdict_counts"], json!({ verdict: 1 }), "{edge:#}");
        assert_eq!(edge["mark"], mark, "{edge:#}");
        assert_eq!(edge["reporter"], "both", "{edge:#}");
        let table = self.daemon.ask(&["edges"])?.out;
        assert!(table.contains(&format!("{port}/udp")), "{table}");
        Ok(record)
    }
}

/// Waits until something is bound to a port of UDP in the pod.
fn await_udp(pod: &Pod, port: u16) -> Result<()> {
    let wanted = format!(":{port:04X} ");
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let bound = pod.enter(|| {
            ["udp", "udp6"].map(|table| {
                std::fs::read_to_string(format!("/proc/thread-self/net/{table}"))
                    .is_ok_and(|table| table.contains(&wanted))
            })
        })?;
        if bound.contains(&true) {
            return Ok(());
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "nobody is bound to {port}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// HTTP/3 by ngtcp2 with GnuTLS: the server requests a certificate and the client sends one, or
/// neither. `more`: options of the client.
fn http3(watched: &Watched, addr: SocketAddr, mutual: bool, more: &[&str]) -> Result<()> {
    let scene = &watched.scene;
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    let files = scene.pki.ca.parent().context("no directory")?;
    let (server, client) = (scene.pki.identity("db")?, scene.pki.identity("web")?);
    let mut command = Command::new(mtls_tests::bin::system("gtlsserver").context("no gtlsserver")?);
    command.arg("-q").arg("--htdocs").arg(files);
    if mutual {
        command.arg("--verify-client");
    }
    command
        .args([&host, &port])
        .arg(server.key)
        .arg(server.cert);
    let _server = watched.serve(addr.port(), command, &[])?;
    let mut command = Command::new("gtlsclient");
    command
        .args(["-q", "--exit-on-all-streams-close"])
        .args(more);
    if mutual {
        command
            .arg("--cert")
            .arg(client.cert)
            .arg("--key")
            .arg(client.key);
    }
    let url = format!("https://{}/ca.pem", dns_name("db"));
    command.args([&host, &port, &url]);
    scene.web.start(command)?.succeed(PATIENCE)?;
    Ok(())
}

#[test]
fn http3_is_mutual_or_not() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["gtlsserver", "gtlsclient"])]) {
        return Ok(());
    }
    for (mutual, verdict, mark) in [(true, "mtls", "mutual"), (false, "tls", "one-way")] {
        for v6 in [false, true] {
            let watched = Watched::new(&[])?;
            let ip = if v6 {
                watched.scene.db.v6()
            } else {
                watched.scene.db.v4()
            };
            http3(&watched, at(ip, 4433), mutual, &[])?;
            let record = watched.told(4433, verdict, mark)?;
            assert_eq!(record["protocol"], "http/3", "{record:#}");
            assert_eq!(record["origin"], "syn", "{record:#}");
            assert_eq!(record["tls"]["version"], "1.3", "{record:#}");
            assert_eq!(record["tls"]["alpn_offered"], json!(["h3"]), "{record:#}");
            assert_eq!(record["evidence"], "handshake-shape", "{record:#}");
        }
    }
    Ok(())
}

/// A client that takes another port after the handshake and before its request.
const MOVES: [&str; 2] = ["--change-local-addr=300ms", "--delay-stream=600ms"];

/// If a NAT changes the client's port, the connection ID shows that it is the same connection.
#[test]
fn a_connection_from_another_port_is_joined() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["gtlsserver", "gtlsclient"])]) {
        return Ok(());
    }
    let watched = Watched::new(&[])?;
    let more = [&MOVES[..], &["--nat-rebinding"]].concat();
    http3(&watched, at(watched.scene.db.v4(), 4433), true, &more)?;
    let record = watched.told(4433, "mtls", "mutual")?;
    let notes = record["notes"].to_string();
    ensure!(
        notes.contains("migrated: the client's address changed 1 time"),
        "{record:#}"
    );
    let before = notes.split("last from ").nth(1).context("no address")?;
    let before = before.trim_end_matches(['"', ']']).to_owned();
    ensure!(
        before.starts_with(&watched.scene.web.v4().to_string()),
        "{record:#}"
    );
    let now = format!("{}:{}", watched.scene.web.v4(), record["src"]["port"]);
    ensure!(before != now, "{record:#}");
    let edges = watched.daemon.edges()?;
    assert_eq!(edges.len(), 1, "{edges:#?}");
    assert_eq!(edges[0]["connections"], 1, "{edges:#?}");
    Ok(())
}

/// A client that moves on purpose takes a connection ID that only the server knows: what it sends
/// from there on is another flow, of which nothing is claimed.
#[test]
fn a_connection_with_another_id_is_a_new_flow() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["gtlsserver", "gtlsclient"])]) {
        return Ok(());
    }
    let watched = Watched::new(&[])?;
    http3(&watched, at(watched.scene.db.v4(), 4433), true, &MOVES)?;
    let ended = |origin: &str| {
        watched
            .tap
            .find(|record| record["event"] == "closed" && record["origin"] == origin)
    };
    let (first, moved) = (ended("syn")?, ended("midstream")?);
    assert_eq!(first["verdict"], "mtls", "{first:#}");
    assert_eq!(moved["verdict"], "unobserved", "{moved:#}");
    assert_ne!(moved["src"]["port"], first["src"]["port"], "{moved:#}");
    let reason = moved["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with("short headers only: "), "{moved:#}");
    ensure!(reason.ends_with("or moved to this address"), "{moved:#}");
    let edge = watched
        .daemon
        .await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
    let counts = json!({"mtls": 1, "unobserved": 1});
    assert_eq!(edge["verdict_counts"], counts, "{edge:#}");
    assert_eq!(edge["mark"], "unknown", "{edge:#}");
    Ok(())
}

/// Plaintext StatsD, more than is sampled.
#[test]
fn a_busy_flow_stays_open_when_it_is_sampled_no_more() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new(&[])?;
    let addr = at(watched.scene.db.v4(), 8125);
    let server = watched.scene.db.enter(|| UdpSocket::bind(addr))??;
    let client = watched.scene.web.enter(|| UdpSocket::bind("0.0.0.0:0"))??;
    for n in 0..200 {
        client.send_to(format!("requests.total:{n}|c\n").as_bytes(), addr)?;
        server.recv_from(&mut [0; 100])?;
    }
    let edge = watched
        .daemon
        .await_edge("web", "db", |edge| edge["verdict_counts"]["plaintext"] == 1)?;
    assert_eq!(edge["mark"], "clear", "{edge:#}");
    assert_eq!(
        edge["protocols"]["values"],
        json!({ "statsd": 1 }),
        "{edge:#}"
    );
    // The kernel takes no more samples of it, so it stays open for longer than its timeout.
    std::thread::sleep(Duration::from_secs(4));
    let edge = watched.daemon.await_edge("web", "db", |_| true)?;
    assert_eq!(edge["open_connections"], 1, "{edge:#}");
    Ok(())
}

/// DTLS with `openssl` at one end.
#[test]
fn dtls_shows_its_certificates() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    for (mutual, verdict, mark) in [(true, "mtls", "mutual"), (false, "tls", "one-way")] {
        let watched = Watched::new(&[])?;
        let scene = &watched.scene;
        let addr = at(scene.db.v4(), 5684);
        let (own, other) = (scene.pki.identity("db")?, scene.pki.identity("web")?);
        let mut command = Command::new("openssl");
        command.args(["s_server", "-dtls", "-mtu", "1400", "-accept", "5684"]);
        command.arg("-cert").arg(own.cert).arg("-key").arg(own.key);
        command.arg("-CAfile").arg(&scene.pki.ca);
        let verify: &[&str] = if mutual {
            &["-Verify", "2", "-verify_return_error"]
        } else {
            &[]
        };
        command.args(verify);
        // It ends with its input.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "sleep 60 | \"$0\" \"$@\"", "openssl"])
            .args(command.get_args());
        let server = watched.serve(5684, shell, &[])?;
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-dtls",
            "-mtu",
            "1400",
            "-quiet",
            "-servername",
            &dns_name("db"),
        ]);
        command
            .args(["-connect", &addr.to_string()])
            .arg("-CAfile")
            .arg(&scene.pki.ca);
        if mutual {
            command
                .arg("-cert")
                .arg(other.cert)
                .arg("-key")
                .arg(other.key);
        }
        let _client = scene.web.start_with_input(command, b"a secret\n")?;
        let got = server
            .out
            .find(PATIENCE, |line| line.contains("a secret").then_some(()));
        ensure!(got.is_some(), "nothing arrived\n{}", server.told());
        let record = watched.told(5684, verdict, mark)?;
        assert_eq!(record["protocol"], "dtls", "{record:#}");
        assert_eq!(record["tls"]["version"], "1.2", "{record:#}");
        assert_eq!(record["evidence"], "certificates", "{record:#}");
        let identity = &record["tls"]["client_identity"];
        let wanted = mutual.then(|| mtls_tests::pki::spiffe_id("web"));
        assert_eq!(*identity, json!(wanted), "{record:#}");
    }
    Ok(())
}

/// DNS is plaintext by nature: exempt and counted, unless the operator requires more.
#[test]
fn dns_is_exempt_unless_it_is_to_be_judged() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["dnsmasq", "dig"])]) {
        return Ok(());
    }
    for judged in [false, true] {
        let watched = Watched::new(if judged { &["--judge-dns"] } else { &[] })?;
        let ip = watched.scene.db.v4().to_string();
        let mut command = Command::new(mtls_tests::bin::system("dnsmasq").context("no dnsmasq")?);
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args([
            "--bind-interfaces",
            "--listen-address",
            &ip,
            "--user=root",
            "--pid-file=",
        ]);
        command.args(["--address=/shop.example/10.1.2.3"]);
        let _server = watched.serve(53, command, &[])?;
        let mut command = Command::new("dig");
        command.args([&format!("@{ip}"), "+short", "+tries=1", "web.shop.example"]);
        let answer = watched.scene.web.start(command)?.succeed(PATIENCE)?;
        assert_eq!(answer.trim(), "10.1.2.3");
        let record = watched.closed(53)?;
        assert_eq!(record["verdict"], "plaintext", "{record:#}");
        assert_eq!(record["protocol"], "dns", "{record:#}");
        let edge = watched
            .daemon
            .await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
        assert_eq!(edge["connections"], 1, "{edge:#}");
        if judged {
            assert_eq!(record["exempt"], json!(null));
            assert_eq!(
                edge["verdict_counts"],
                json!({ "plaintext": 1 }),
                "{edge:#}"
            );
            assert_eq!(edge["mark"], "clear", "{edge:#}");
        } else {
            assert_eq!(record["exempt"]["class"], "dns");
            assert_eq!(edge["exempt_counts"], json!({ "dns": 1 }), "{edge:#}");
            assert_eq!(edge["mark"], json!(null), "{edge:#}");
        }
        let status = watched.daemon.ask(&["status"])?.out;
        let udp = status.lines().find(|line| line.starts_with("UDP flows: "));
        let udp = udp.context("no line on UDP")?;
        assert!(
            udp.starts_with("UDP flows: 1 seen, 1 classified, 0 undecided"),
            "{udp}"
        );
        let line = status
            .lines()
            .find(|line| line.starts_with("packets not examined: "));
        let line = line.context("no line on what is not looked at")?;
        assert!(line.ends_with("ARP and ICMP"), "{line}");
    }
    Ok(())
}

/// A pod that forges another's address in its datagrams changes nothing in the reports on the
/// other, and is not hidden either.
#[test]
fn a_forged_datagram_is_a_flow_of_its_own() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new(&[])?;
    let addr = at(watched.scene.db.v4(), 514);
    let server = watched.scene.db.enter(|| UdpSocket::bind(addr))??;
    let from = at(watched.scene.web.v4(), 5140);
    let client = watched.scene.web.enter(|| UdpSocket::bind(from))??;
    client.send_to(b"<34>1 2026-01-01T00:00:00Z web app - - - hello", addr)?;
    server.recv_from(&mut [0; 100])?;
    let rogue = watched.scene.node.pod("shop", "rogue")?;
    watched.daemon.await_interfaces(3)?;
    rogue.enter(|| -> Result<()> {
        // A forged source address is a source address nevertheless.
        // Its neighbours know it by its own address.
        std::fs::write("/proc/sys/net/ipv4/conf/all/arp_announce", "2")?;
        mtls_tests::netns::ip(&format!("addr add {}/32 dev lo", from.ip()))?;
        let socket = UdpSocket::bind(from)?;
        socket.send_to(b"<34>1 2026-01-01T00:00:00Z web app - - - a lie", addr)?;
        Ok(())
    })??;
    let lie = watched.tap.find(|record| {
        record["event"] == "closed" && record["notes"].to_string().contains("spoofed")
    })?;
    assert_eq!(lie["verdict"], "plaintext", "{lie:#}");
    assert_eq!(rogue.workload(), "rogue");
    let honest = watched.tap.find(|record| {
        record["event"] == "closed" && !record["notes"].to_string().contains("spoofed")
    })?;
    assert_eq!(honest["src"]["name"], "web", "{honest:#}");
    assert_eq!(honest["verdict"], "plaintext", "{honest:#}");
    Ok(())
}
