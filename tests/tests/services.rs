//! Service addresses, with nftables in the role of kube-proxy. One connection is one flow between
//! two pods, whatever address the client called.

use std::net::IpAddr;

use anyhow::Result;
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::{Pod, nft};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::json;

const NEEDS: [Need; 2] = [Need::Root, Need::Nft];
const SERVICE_V4: &str = "10.96.0.10";
const SERVICE_V6: &str = "fd00:96::10";

#[test]
fn a_call_to_a_service_is_one_flow_between_two_pods() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let api = scene.node.routed_pod("shop", "api")?;
    translate(&api, "")?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let _server = scene.serve(&api, "[::]:8443".parse()?, &["--mode", "mtls"])?;
    let args = ["--mode", "mtls", "--sni", "api.shop.svc.cluster.local"];
    for (service, own) in [(SERVICE_V4, api.v4()), (SERVICE_V6, api.v6())] {
        let service: IpAddr = service.parse()?;
        let report = scene
            .connect(&scene.web, at(service, 443), &args)?
            .remove(0);
        assert_eq!(
            report.remote,
            at(service, 443),
            "the client knows only the service"
        );
        let record = tap.find(|record| {
            record["event"] == "closed" && record["src"]["port"] == report.local.port()
        })?;
        assert_eq!(record["src"]["ip"], json!(report.local.ip()), "{record:#}");
        assert_eq!(record["dst"]["ip"], json!(own), "{record:#}");
        assert_eq!(record["dst"]["port"], 8443);
        assert_eq!(
            record["links"].as_array().map(Vec::len),
            Some(2),
            "{record:#}"
        );
        assert_eq!(record["verdict"], "mtls", "{record:#}");
    }
    daemon.await_edge("web", "api", |edge| {
        edge["verdict_counts"] == json!({ "mtls": 2 })
    })?;
    one_edge_of(&daemon, 2)
}

#[test]
fn a_call_whose_source_is_translated_too_is_one_flow() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let api = scene.node.routed_pod("shop", "api")?;
    translate(&api, "masquerade")?;
    let daemon = Daemon::start(&scene.node)?;
    let server = scene.serve(&api, at(api.v4(), 8443), &["--mode", "mtls"])?;
    let args = [
        "--mode",
        "mtls",
        "--connections",
        "10",
        "--sni",
        "api.shop.svc.cluster.local",
    ];
    let addr = at(SERVICE_V4.parse()?, 443);
    let reports = scene.connect(&scene.web, addr, &args)?;
    let told = server.told();
    for report in reports {
        let client = format!("\"remote\":\"{}\"", report.local);
        assert!(
            !told.contains(&client),
            "the server knows the client: {told}"
        );
    }
    daemon.await_edge("web", "api", |edge| {
        edge["verdict_counts"] == json!({ "mtls": 10 })
    })?;
    one_edge_of(&daemon, 10)
}

#[test]
fn a_pod_that_calls_itself_through_its_service_is_one_flow() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let api = scene.node.routed_pod("shop", "api")?;
    // A hairpin: the packet leaves and returns through the same veth, so its source has to change.
    translate(&api, "masquerade")?;
    let daemon = Daemon::start(&scene.node)?;
    let _server = scene.serve(&api, at(api.v4(), 8443), &["--mode", "plain-http"])?;
    let addr = at(SERVICE_V4.parse()?, 443);
    scene.connect(&api, addr, &["--mode", "plain-http"])?;
    daemon.await_edge("api", "api", |edge| {
        edge["verdict_counts"] == json!({ "plaintext": 1 })
    })?;
    one_edge_of(&daemon, 1)
}

/// Redirects connections to the service's addresses to the pod, like kube-proxy.
fn translate(pod: &Pod, postrouting: &str) -> Result<()> {
    nft(&format!(
        "table inet service {{
            chain prerouting {{
                type nat hook prerouting priority dstnat;
                ip daddr {SERVICE_V4} tcp dport 443 dnat ip to {}:8443
                ip6 daddr {SERVICE_V6} tcp dport 443 dnat ip6 to [{}]:8443
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                {postrouting}
            }}
        }}",
        pod.v4(),
        pod.v6()
    ))
}

/// There is only that edge, and each connection was counted once.
fn one_edge_of(daemon: &Daemon, connections: u64) -> Result<()> {
    let edges = daemon.edges()?;
    assert_eq!(edges.len(), 1, "{edges:#?}");
    let status = daemon.status()?;
    assert_eq!(status["flows"]["joined"], connections, "{status:#}");
    assert_eq!(status["flows"]["seen"], connections, "{status:#}");
    Ok(())
}
