//! Compares what real peers negotiated with the daemon's reports.

use std::time::Duration;

use anyhow::Result;
use mtls_tests::daemon::{Daemon, Tap};
use mtls_tests::peer::Report;
use mtls_tests::pki::{dns_name, spiffe_id};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// A scene with a tap.
struct Watched {
    tap: Tap,
    daemon: Daemon,
    scene: Scene,
}

impl Watched {
    fn new() -> Result<Self> {
        let scene = Scene::new()?;
        let daemon = Daemon::start(&scene.node)?;
        let tap = daemon.tap()?;
        Ok(Self { tap, daemon, scene })
    }

    /// The tap's report at the end of the connection.
    fn closed(&self, report: &Report) -> Result<Value> {
        self.tap.find(|record| {
            record["src"]["port"] == report.local.port() && record["event"] == "closed"
        })
    }

    /// One request between rustls peers; returns what the client knows and what the daemon reports.
    fn exchange(&self, server: &[&str], client: &[&str]) -> Result<(Report, Value)> {
        let addr = at(self.scene.db.v4(), 8443);
        let _server = self.scene.serve(&self.scene.db, addr, server)?;
        let report = self.scene.connect(&self.scene.web, addr, client)?.remove(0);
        let record = self.closed(&report)?;
        Ok((report, record))
    }

    /// The one connection was counted as `verdict`, and nothing else was counted.
    fn edge_is(&self, verdict: &str) -> Result<Value> {
        let edge = self
            .daemon
            .await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
        let (counts, exempt) = match verdict {
            "no-data" => (json!({}), json!({ "no-data": 1 })),
            _ => (json!({ verdict: 1 }), json!({})),
        };
        assert_eq!(edge["verdict_counts"], counts, "{edge:#}");
        assert_eq!(edge["exempt_counts"], exempt, "{edge:#}");
        assert_eq!(edge["src"]["namespace"], "shop");
        assert_eq!(edge["dst"]["namespace"], "shop");
        let mark = match verdict {
            "mtls" => json!("mutual"),
            "tls" => json!("one-way"),
            "plaintext" => json!("clear"),
            "no-data" => json!(null),
            _ => json!("unknown"),
        };
        assert_eq!(edge["mark"], mark);
        assert_eq!(self.daemon.edges()?.len(), 1);
        Ok(edge)
    }
}

#[test]
fn mutual_tls13_is_inferred_from_the_handshakes_shape() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let mutual = ["--mode", "mtls", "--tls", "1.3"];
    let (report, record) = watched.exchange(&mutual, &mutual)?;
    assert_eq!(report.tls.as_deref(), Some("1.3"));
    assert_eq!(record["verdict"], "mtls", "{record:#}");
    assert_eq!(record["evidence"], "handshake-shape");
    assert_eq!(record["origin"], "syn");
    assert_eq!(record["tls"]["version"], "1.3");
    assert_eq!(record["tls"]["sni"], dns_name("db"));
    assert_eq!(record["tls"]["client_certificate"], "presented");
    assert_eq!(record["src"]["name"], "web");
    assert_eq!(record["dst"]["name"], "db");
    watched.edge_is("mtls")?;
    Ok(())
}

#[test]
fn mutual_tls12_shows_both_certificates() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let mutual = ["--mode", "mtls", "--tls", "1.2"];
    let (_, record) = watched.exchange(&mutual, &mutual)?;
    assert_eq!(record["verdict"], "mtls", "{record:#}");
    assert_eq!(record["evidence"], "certificates");
    assert_eq!(record["tls"]["version"], "1.2");
    assert_eq!(record["tls"]["client_identity"], spiffe_id("web"));
    assert_eq!(record["tls"]["server_identity"], spiffe_id("db"));
    let edge = watched.edge_is("mtls")?;
    let one = |id| json!({ spiffe_id(id): 1 });
    assert_eq!(edge["client_identities"]["values"], one("web"));
    assert_eq!(edge["server_identities"]["values"], one("db"));
    Ok(())
}

#[test]
fn a_server_that_asks_for_no_certificate_makes_it_tls_alone() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    for (version, evidence) in [("1.2", "certificates"), ("1.3", "handshake-shape")] {
        let watched = Watched::new()?;
        // The client has a certificate, but the server does not request one.
        let server = ["--mode", "tls", "--tls", version];
        let (_, record) = watched.exchange(&server, &["--mode", "mtls"])?;
        assert_eq!(record["verdict"], "tls", "{record:#}");
        assert_eq!(record["evidence"], evidence);
        assert_eq!(record["tls"]["version"], version);
        watched.edge_is("tls")?;
    }
    Ok(())
}

#[test]
fn a_client_without_the_certificate_that_was_asked_for_is_refused() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    for version in ["1.2", "1.3"] {
        let watched = Watched::new()?;
        let addr = at(watched.scene.db.v4(), 8443);
        let server = ["--mode", "mtls", "--tls", version];
        let _server = watched.scene.serve(&watched.scene.db, addr, &server)?;
        let client = ["--mode", "tls"];
        let mut client = watched.scene.client(&watched.scene.web, addr, &client)?;
        assert!(!client.wait(PATIENCE)?.success());
        let record = watched.tap.find(|record| record["event"] == "closed")?;
        assert_eq!(record["verdict"], "failed", "TLS {version}: {record:#}");
        watched.edge_is("failed")?;
    }
    Ok(())
}

#[test]
fn http_in_clear_is_plaintext_and_says_what_was_asked() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let client = ["--mode", "plain-http", "--path", "/cart?user=7"];
    let (_, record) = watched.exchange(&["--mode", "plain-http"], &client)?;
    assert_eq!(record["verdict"], "plaintext", "{record:#}");
    assert_eq!(record["evidence"], "first-bytes");
    assert_eq!(record["protocol"], "http/1.1");
    assert_eq!(record["http"]["method"], "GET");
    assert_eq!(
        record["http"]["path"], "/cart",
        "the query is nobody's business"
    );
    assert_eq!(record["http"]["status"], 200);
    let edge = watched.edge_is("plaintext")?;
    assert_eq!(edge["reason"], "unencrypted http/1.1", "{edge:#}");
    Ok(())
}

#[test]
fn noise_is_opaque_and_silence_is_no_data() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    for (mode, verdict) in [("raw", "opaque"), ("silent", "no-data")] {
        let watched = Watched::new()?;
        let (_, record) = watched.exchange(&["--mode", mode], &["--mode", mode])?;
        assert_eq!(record["verdict"], verdict, "{record:#}");
        watched.edge_is(verdict)?;
    }
    Ok(())
}

#[test]
fn openssl_is_reported_as_rustls_is() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let Watched { scene, tap, .. } = &watched;
    // One server after the other: a connection is identified by its server's port.
    for (port, server, client, verdict) in [
        (7001, "openssl", "rustls", "mtls"),
        (7002, "rustls", "openssl", "mtls"),
        (7003, "openssl", "openssl", "mtls"),
        (7004, "openssl", "openssl", "tls"),
    ] {
        for (openssl, rustls) in [("-tls1_2", "1.2"), ("-tls1_3", "1.3")] {
            let port = if rustls == "1.2" { port } else { port + 100 };
            let addr = at(scene.db.v4(), port);
            let mutual = verdict == "mtls";
            let _server = if server == "openssl" {
                scene.openssl_serve(&scene.db, port, mutual, &[openssl])?
            } else {
                scene.serve(&scene.db, addr, &["--mode", "mtls", "--tls", rustls])?
            };
            if client == "openssl" {
                let told = scene.openssl_connect(&scene.web, addr, mutual, &[openssl])?;
                assert!(told.contains("200"), "{told}");
            } else {
                scene.connect(&scene.web, addr, &["--mode", "mtls"])?;
            }
            let record =
                tap.find(|record| record["dst"]["port"] == port && record["verdict"] == verdict)?;
            assert_eq!(record["tls"]["version"], rustls, "{record:#}");
            if rustls == "1.2" && mutual {
                assert_eq!(
                    record["tls"]["client_identity"],
                    spiffe_id("web"),
                    "{record:#}"
                );
            }
        }
    }
    let wanted = [("tls", 2), ("mtls", 6)];
    watched.daemon.await_counts("web", "db", &wanted)?;
    Ok(())
}

#[test]
fn both_families_are_watched() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let scene = &watched.scene;
    let _server = scene.serve(&scene.db, "[::]:8443".parse()?, &["--mode", "mtls"])?;
    for ip in [scene.db.v4(), scene.db.v6()] {
        let report = scene
            .connect(&scene.web, at(ip, 8443), &["--mode", "mtls"])?
            .remove(0);
        let record = watched.closed(&report)?;
        assert_eq!(record["verdict"], "mtls", "{record:#}");
        assert_eq!(record["src"]["ip"], json!(report.local.ip()));
        assert_eq!(record["dst"]["ip"], json!(ip));
    }
    // Two addresses per pod, one pair of pods.
    let edge = watched
        .daemon
        .await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
    assert_eq!(edge["verdict_counts"], json!({ "mtls": 2 }), "{edge:#}");
    assert_eq!(watched.daemon.edges()?.len(), 1);
    Ok(())
}

#[test]
fn a_probe_from_the_node_is_plaintext_with_the_node_as_its_source() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let watched = Watched::new()?;
    let scene = &watched.scene;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    let report = scene.probe(addr)?.remove(0);
    let record = watched.closed(&report)?;
    assert_eq!(record["verdict"], "plaintext", "{record:#}");
    assert_eq!(record["src"]["ip"], json!(scene.node.v4()));
    assert_eq!(record["src"]["kind"], "node");
    assert_eq!(record["dst"]["name"], "db");
    assert_eq!(record["http"]["path"], "/healthz");
    assert_eq!(record["http"]["user_agent"], "kube-probe/1.31");
    Ok(())
}

#[test]
fn a_connection_older_than_the_daemon_is_not_called_mutual() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let addr = at(scene.db.v4(), 8443);
    let mutual = ["--mode", "mtls"];
    let _server = scene.serve(&scene.db, addr, &mutual)?;
    let slow = ["--mode", "mtls", "--requests", "1000", "--interval", "50"];
    let client = scene.client(&scene.web, addr, &slow)?;
    scene.web.await_connection(8443, PATIENCE)?;
    // Long enough for the handshake and a request to complete.
    std::thread::sleep(Duration::from_millis(300));
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let edge = daemon.await_edge("web", "db", |edge| edge["verdict"] == "tls-unproven")?;
    assert_eq!(edge["mark"], "unknown");
    assert_eq!(edge["open_connections"], 1);
    drop(client);
    let record = tap.find(|record| record["event"] == "closed")?;
    assert_eq!(record["verdict"], "tls-unproven", "{record:#}");
    assert_eq!(record["origin"], "midstream");
    assert_eq!(record["evidence"], "record-framing");
    assert_eq!(record["src"]["name"], "web", "{record:#}");
    assert_eq!(record["dst"]["name"], "db");
    Ok(())
}
