//! Tests of timing. They run one after the other, in a file of their own, because the kernel
//! creates the interfaces of all namespaces under one lock: other tests at the same time would
//! affect the measurement.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mtls_tests::census;
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::ip;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::json;

/// Time between a link's creation and the first packet on it that must not be missed.
const GRACE: Duration = Duration::from_millis(50);

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_first_packets_on_a_new_veth_are_seen() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let _alone = alone();
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let addr = at(scene.db.v4(), 8443);
    let _server = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    let mut pods = Vec::new();
    for n in 0..10 {
        let created = Instant::now();
        let pod = scene.node.pod("shop", &format!("new{n}"))?;
        std::thread::sleep(GRACE.saturating_sub(created.elapsed()));
        let report = scene.connect(&pod, addr, &["--mode", "mtls"])?.remove(0);
        let port = report.local.port();
        let record = tap.find(|record| {
            record["event"] == "closed"
                && record["src"]["port"] == port
                && record["src"]["ip"] == json!(report.local.ip())
        })?;
        assert_eq!(record["origin"], "syn", "{record:#}");
        // On both of the veths that it crossed, and therefore also on the new one.
        assert_eq!(
            record["links"].as_array().map(Vec::len),
            Some(2),
            "{record:#}"
        );
        assert_eq!(record["verdict"], "mtls", "{record:#}");
        pods.push(pod);
    }
    println!("attach latency: {}", daemon.status()?["kernel"]["attach"]);
    Ok(())
}

#[test]
fn the_first_flow_of_a_young_pod_carries_its_name() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let _alone = alone();
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    for n in 0..5 {
        let name = format!("young{n}");
        let pod = scene.node.pod("shop", &name)?;
        std::thread::sleep(Duration::from_millis(200));
        scene.connect(&pod, addr, &["--mode", "plain-http"])?;
        daemon.await_edge(&name, "db", |edge| edge["open_connections"] == 0)?;
    }
    assert_eq!(daemon.edges()?.len(), 5);
    Ok(())
}

#[test]
fn programs_are_on_a_new_veth_in_time() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let _alone = alone();
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let mut took = Vec::new();
    for n in 0..20 {
        let name = format!("vethx{n:03}");
        ip(&format!(
            "link add {name} type veth peer name p{n} netns {}\n",
            scene.web.netns().display()
        ))?;
        let created = Instant::now();
        while census::tcx(&name)? != [1, 1] {
            if created.elapsed() > Duration::from_secs(5) {
                bail!(
                    "no programs on {name}: {:?}\n{}",
                    census::tcx(&name)?,
                    daemon.log()
                );
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        took.push(created.elapsed());
    }
    took.sort();
    println!(
        "from `ip link add` to both programs: median {:?}, longest {:?}",
        took[10], took[19]
    );
    println!("attach latency: {}", daemon.status()?["kernel"]["attach"]);
    assert!(took[10] < GRACE, "{took:?}");
    Ok(())
}

#[test]
fn three_hundred_veths_at_once_are_watched_within_a_second_of_their_creation() -> Result<()> {
    const BURST: usize = 300;
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let _alone = alone();
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let into = scene.web.netns().display();
    let line = |n| format!("link add vb{n} type veth peer name b{n} netns {into}\n");
    let made = Instant::now();
    ip(&(0..BURST).map(line).collect::<String>())?;
    println!("made in {:?}", made.elapsed());
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let watched = daemon.interfaces()?;
        slowest = slowest.max(asked.elapsed());
        if watched == BURST + 2 {
            break;
        }
        if made.elapsed() > Duration::from_secs(20) {
            bail!("{watched} are watched\n{}", daemon.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let latency = daemon.status()?["kernel"]["attach"].clone();
    println!("from the kernel's own stamp to the programs: {latency}; slowest answer {slowest:?}");
    assert!(
        latency["max_us"].as_u64().is_some_and(|us| us < 1_000_000),
        "{latency}"
    );
    Ok(())
}
