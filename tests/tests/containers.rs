//! Pods of a real container runtime, with the veths that a real CNI creates for them.

use anyhow::Result;
use mtls_tests::cri::{Runtime, Sandbox};
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

#[test]
fn pods_that_come_and_go_are_all_watched() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Containerd]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let db = runtime.pod("shop", "db")?;
    let addr = at(db.ips[0], 8080);
    let _server = scene.serve(&db, addr, &["--mode", "plain-http"])?;
    let mut addresses = Vec::new();
    for n in 0..5 {
        let pod = runtime.pod("shop", &format!("web{n}"))?;
        scene.connect(&pod, addr, &["--mode", "plain-http"])?;
        daemon.await_interfaces(4)?;
        addresses.push(pod.ips[0]);
        drop(pod);
        daemon.await_interfaces(3)?;
    }
    let status = daemon.status()?;
    assert_eq!(status["flows"]["seen"], 5, "{status:#}");
    assert_eq!(status["kernel"]["not_attached"], json!([]), "{status:#}");
    println!("one pod's address after the other's: {addresses:?}");
    Ok(())
}

#[test]
fn without_the_runtime_classification_goes_on() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Containerd]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let db = runtime.pod("shop", "db")?;
    let web = runtime.pod("shop", "web")?;
    let addr = at(db.ips[0], 8443);
    let _server = scene.serve(&db, addr, &["--mode", "mtls"])?;
    let told = |pod: &Sandbox| -> Result<()> {
        let report = scene.connect(pod, addr, &["--mode", "mtls"])?.remove(0);
        let port = report.local.port();
        let record =
            tap.find(|record| record["event"] == "closed" && record["src"]["port"] == port)?;
        assert_eq!(record["verdict"], "mtls", "{record:#}");
        Ok(())
    };
    told(&web)?;
    runtime.pause()?;
    told(&web)?;
    runtime.resume()?;
    told(&runtime.pod("shop", "late")?)
}
