//! Tests of the test harness: namespaces, peers and certificates behave as the other tests assume.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mtls_tests::netns::{Node, ip};
use mtls_tests::process::Process;
use mtls_tests::scene::{Scene, at, reports};
use mtls_tests::skip::{Need, runs_here};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn rustls_peers_talk_over_both_families_and_versions() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let server = scene.serve(&scene.db, "[::]:8443".parse()?, &["--mode", "mtls"])?;
    for addr in [at(scene.db.v4(), 8443), at(scene.db.v6(), 8443)] {
        for version in ["1.2", "1.3"] {
            let args = ["--mode", "mtls", "--tls", version, "--requests", "3"];
            let report = &scene.connect(&scene.web, addr, &args)?[0];
            assert_eq!(report.tls.as_deref(), Some(version));
            assert_eq!(report.responses, 3);
            assert_eq!(report.remote, addr);
            let seen = server
                .out
                .find(PATIENCE, |line| {
                    let seen = reports(line).ok()?.pop()?;
                    (seen.remote.port() == report.local.port()).then_some(seen)
                })
                .context("the server saw no such connection")?;
            assert_eq!(seen.client_certificate, Some(true));
            assert_eq!(seen.tls.as_deref(), Some(version));
        }
    }
    Ok(())
}

#[test]
fn a_server_that_demands_a_certificate_refuses_a_client_without_one() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let _server = scene.serve(&scene.db, "[::]:8443".parse()?, &["--mode", "mtls"])?;
    let mut client = scene.client(&scene.web, at(scene.db.v4(), 8443), &["--mode", "tls"])?;
    assert!(!client.wait(PATIENCE)?.success());
    assert!(
        client.err.text().contains("CertificateRequired"),
        "{}",
        client.told()
    );
    Ok(())
}

#[test]
fn sessions_resume_when_asked_to() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let addr = at(scene.db.v4(), 8443);
    let _server = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    for version in ["1.2", "1.3"] {
        let args = ["--mode", "mtls", "--tls", version, "--connections", "2"];
        let resumed = |extra: &[&str]| -> Result<Vec<bool>> {
            let reports = scene.connect(&scene.web, addr, &[&args, extra].concat())?;
            Ok(reports.iter().map(|report| report.resumed).collect())
        };
        assert_eq!(resumed(&[])?, [false, false]);
        assert_eq!(resumed(&["--resume"])?, [false, true]);
    }
    Ok(())
}

#[test]
fn plaintext_noise_and_silence() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    for (port, mode, responses) in [
        (8080, "plain-http", 1),
        (8081, "raw", 1),
        (8082, "silent", 0),
    ] {
        let addr = at(scene.db.v4(), port);
        let _server = scene.serve(&scene.db, addr, &["--mode", mode])?;
        let report = &scene.connect(&scene.web, addr, &["--mode", mode])?[0];
        assert_eq!(report.tls, None);
        assert_eq!(report.responses, responses, "{mode}");
    }
    Ok(())
}

#[test]
fn openssl_and_rustls_understand_each_other() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let _openssl = scene.openssl_serve(&scene.db, 9443, true, &[])?;
    let report = scene.connect(&scene.web, at(scene.db.v4(), 9443), &["--mode", "mtls"])?;
    assert_eq!(report[0].responses, 1);

    let addr = at(scene.db.v4(), 8443);
    let _rustls = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    for version in ["-tls1_2", "-tls1_3"] {
        let told = scene.openssl_connect(&scene.web, addr, true, &[version])?;
        assert!(told.contains("HTTP/1.1 200 OK"), "{told}");
    }
    let told = scene.openssl_connect(&scene.web, addr, false, &[])?;
    assert!(told.contains("certificate required"), "{told}");
    Ok(())
}

#[test]
fn nothing_of_a_node_is_left_behind() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let here = || -> Result<_> {
        Ok((
            std::fs::read_link("/proc/thread-self/ns/net")?,
            std::fs::read_link("/proc/thread-self/ns/mnt")?,
            std::env::current_dir()?,
        ))
    };
    let before = here()?;
    let (netns, server) = {
        let scene = Scene::new()?;
        let server = scene.serve(&scene.db, "[::]:8443".parse()?, &["--mode", "mtls"])?;
        assert_ne!(here()?, before);
        assert!(scene.node.netns_dir().join("shop.web").exists());
        (scene.node.netns_dir(), server.pid())
    };
    assert_eq!(here()?, before);
    assert!(!netns.exists());
    assert!(!Path::new(&format!("/proc/{server}")).exists());
    Ok(())
}

#[test]
fn a_pod_gets_another_veth_under_the_same_name() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let index = || -> Result<u32> { Ok(nix::net::if_::if_nametoindex(scene.db.veth().as_str())?) };
    let before = index()?;
    scene.db.disconnect(&scene.db.veth())?;
    assert!(index().is_err());
    scene.db.connect(&scene.db.veth())?;
    assert_ne!(index()?, before);
    let addr = at(scene.db.v6(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    assert_eq!(
        scene
            .connect(&scene.web, addr, &["--mode", "plain-http"])?
            .len(),
        1
    );
    Ok(())
}

#[test]
fn a_failing_command_says_why() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let _node = Node::new()?;
    let error = ip("link add veth0 type nonsense\n").expect_err("ip took nonsense");
    assert!(format!("{error:#}").contains("nonsense"), "{error:#}");
    let mut long = Command::new("sleep");
    long.arg("60");
    let error = Process::start(long)?
        .wait(Duration::from_millis(20))
        .expect_err("sleep ended");
    assert!(format!("{error:#}").contains("still runs"), "{error:#}");
    Ok(())
}

#[test]
fn a_shells_children_go_with_it() -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "echo here | { read word; echo $$; sleep 1000; echo $word; }",
    ]);
    let shell = Process::start(shell)?;
    shell
        .out
        .find(PATIENCE, |_| Some(()))
        .context("the shell is mute")?;
    let group = nix::unistd::Pid::from_raw(shell.pid().cast_signed());
    assert!(nix::sys::signal::killpg(group, None).is_ok());
    drop(shell);
    let deadline = std::time::Instant::now() + PATIENCE;
    while nix::sys::signal::killpg(group, None).is_ok() {
        assert!(
            std::time::Instant::now() < deadline,
            "some of the group live on"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
