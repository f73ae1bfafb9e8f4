//! Service addresses: a connection whose addresses are translated on the node is one flow between
//! two pods, as its initial sequence numbers show.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::ip;
use mtls_tests::process::Process;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};

const PATIENCE: Duration = Duration::from_secs(10);
/// In the role of a service's cluster address.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Runs a script on the node.
fn on_node(script: &str) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-ec", script]);
    Process::start(command)?.succeed(PATIENCE)?;
    Ok(())
}

/// What kube-proxy writes: the service's address leads to the pod, and with `masquerade` the
/// client's address becomes the node's.
fn service(scene: &Scene, masquerade: bool) -> Result<()> {
    let snat = if masquerade {
        format!(
            "nft 'add chain ip nat post {{ type nat hook postrouting priority 100; }}'
             nft add rule ip nat post ip daddr {} tcp dport 8443 masquerade",
            scene.db.v4()
        )
    } else {
        String::new()
    };
    on_node(&format!(
        "echo 1 > /proc/sys/net/ipv4/ip_forward
         for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $f; done
         nft add table ip nat
         nft 'add chain ip nat pre {{ type nat hook prerouting priority -100; }}'
         nft add rule ip nat pre ip daddr {SERVICE} tcp dport 443 dnat to {}:8443
         {snat}",
        scene.db.v4()
    ))?;
    // Between pods, too, every packet passes the node's routing, where the translation is.
    for pod in [&scene.web, &scene.db] {
        pod.enter(|| {
            ip("route add 10.42.0.1 dev eth0\n\
                route replace default via 10.42.0.1\n\
                route del 10.42.0.0/16 dev eth0\n")
        })??;
    }
    Ok(())
}

fn one_flow_through_a_service(masquerade: bool) -> Result<()> {
    let scene = Scene::new()?;
    service(&scene, masquerade)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let server = at(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
    let _db = scene.serve(&scene.db, server, &["--mode", "mtls"])?;
    let reports = scene.connect(&scene.web, at(SERVICE.into(), 443), &["--mode", "mtls"])?;
    assert_eq!(reports.len(), 1, "{reports:?}");

    let edge = daemon.await_edge("web", "db", |edge| edge["open"] == 0)?;
    assert_eq!(edge["verdict"], "mtls", "{edge:#}");
    assert_eq!(edge["verdicts"]["mtls"], 1, "one connection: {edge:#}");
    let edges = daemon.edges()?;
    assert_eq!(edges.len(), 1, "both halves are one edge: {edges:#?}");

    let flow = tap.find(|flow| flow["event"] == "closed")?;
    assert_eq!(flow["src"]["ip"], scene.web.v4().to_string(), "{flow:#}");
    assert_eq!(flow["dst"]["ip"], scene.db.v4().to_string());
    assert_eq!(flow["dst"]["port"], 8443);
    assert_eq!(flow["links"].as_array().map(Vec::len), Some(2), "{flow:#}");
    let status = daemon.status()?;
    assert_eq!(status["flows"]["joined"], 1, "{status:#}");
    assert_eq!(status["flows"]["seen"], 1, "{status:#}");
    Ok(())
}

#[test]
fn a_destination_translated_is_one_flow() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    one_flow_through_a_service(false)
}

#[test]
fn both_addresses_translated_are_one_flow() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    one_flow_through_a_service(true)
}
