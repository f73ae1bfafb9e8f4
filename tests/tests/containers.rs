//! Pods of a real container runtime, with the veths that a real CNI makes for them.

use anyhow::Result;
use mtls_tests::cri::Runtime;
use mtls_tests::daemon::Daemon;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::json;

#[test]
fn connections_of_real_pods_are_told() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Containerd]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let db = runtime.pod("shop", "db")?;
    let web = runtime.pod("shop", "web")?;
    // The scene's own pods, and these.
    daemon.await_interfaces(4)?;
    assert_eq!(db.ips.len(), 2, "both families: {:?}", db.ips);
    let _server = scene.serve(&db, "[::]:8443".parse()?, &["--mode", "mtls"])?;
    for ip in &db.ips {
        let report = scene
            .connect(&web, at(*ip, 8443), &["--mode", "mtls"])?
            .remove(0);
        assert!(web.ips.contains(&report.local.ip()));
        let record = tap.find(|record| {
            record["event"] == "closed" && record["src"]["port"] == report.local.port()
        })?;
        assert_eq!(record["verdict"], "mtls", "{record:#}");
        assert_eq!(record["origin"], "syn");
        assert_eq!(record["dst"]["ip"], json!(ip));
        assert_eq!(
            record["links"].as_array().map(Vec::len),
            Some(2),
            "{record:#}"
        );
    }
    drop((db, web));
    daemon.await_interfaces(2)
}
