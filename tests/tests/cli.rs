//! The command line as a contract: exit codes, messages, the socket, clean start and shutdown.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use mtls_tests::bin;
use mtls_tests::daemon::{Daemon, mtls, run};
use mtls_tests::netns::Node;
use mtls_tests::process::Process;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn without_a_daemon_the_exit_code_is_3_and_the_message_says_what_to_do() -> Result<()> {
    for verb in ["edges", "tap", "status"] {
        let answer = mtls([verb, "--socket", "/nonexistent/mtls.sock"])?;
        assert_eq!(answer.code, Some(3), "{answer:?}");
        assert_eq!(answer.out, "");
        assert!(answer.err.contains("/nonexistent/mtls.sock"), "{answer:?}");
        assert!(answer.err.contains("mtls daemon"), "{answer:?}");
    }
    Ok(())
}

#[test]
fn wrong_usage_is_2() -> Result<()> {
    let wrong: [&[&str]; 5] = [
        &[],
        &["edgse"],
        &["edges", "--nonsense"],
        &["edges", "-o", "xml"],
        &["daemon", "--window", "soon"],
    ];
    for args in wrong {
        let answer = mtls(args)?;
        assert_eq!(answer.code, Some(2), "{args:?}: {answer:?}");
        let told = answer.err.contains("Usage") || answer.err.contains("--help");
        assert!(told, "{args:?}: {answer:?}");
    }
    assert_eq!(mtls(["--help"])?.code, Some(0));
    assert_eq!(mtls(["--version"])?.code, Some(0));
    Ok(())
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    let first = Daemon::start(&node)?;
    let second = run(Daemon::command(first.socket(), &[])?)?;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("another mtls daemon"), "{second:?}");
    assert!(second.err.contains("--socket"), "{second:?}");
    assert_eq!(first.status()?["pid"], first.pid());
    Ok(())
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_daemon() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = Daemon::start(&node)?;
        let socket = daemon.socket().to_owned();
        let meta = std::fs::symlink_metadata(&socket)?;
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.mode() & 0o777, 0o600);
        assert_eq!(meta.uid(), 0);
        assert_eq!(daemon.stop(signal)?.code(), Some(0));
        assert!(!socket.exists());
    }
    Ok(())
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_left_alone() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    let socket = node.files().join("mtls.sock");
    // A dropped listener leaves its file, like a killed daemon.
    drop(UnixListener::bind(&socket)?);
    let answer = mtls(["edges".as_ref(), "--socket".as_ref(), socket.as_os_str()])?;
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(answer.err.contains("not running any more"), "{answer:?}");
    let daemon = Daemon::start(&node)?;
    assert_eq!(daemon.status()?["pid"], daemon.pid());
    assert_eq!(daemon.stop(Signal::SIGTERM)?.code(), Some(0));

    std::fs::write(&socket, "precious")?;
    let answer = run(Daemon::command(&socket, &[])?)?;
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.contains("is a file"), "{answer:?}");
    assert_eq!(std::fs::read_to_string(&socket)?, "precious");
    Ok(())
}

#[test]
fn the_environment_names_the_socket_too() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    let daemon = Daemon::start(&node)?;
    let mut command = Command::new(bin::mtls()?);
    command
        .args(["status", "-o", "json"])
        .env("MTLS_SOCKET", daemon.socket());
    let answer = run(command)?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let status: serde_json::Value = serde_json::from_str(&answer.out)?;
    assert_eq!(status["socket"], daemon.socket().to_str().unwrap());
    Ok(())
}

#[test]
fn status_adds_up() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    scene.connect(
        &scene.web,
        addr,
        &["--mode", "plain-http", "--connections", "20"],
    )?;
    daemon.await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
    let status = daemon.status()?;
    let count = |name: &str| status["kernel"]["counters"][name].as_u64().unwrap();
    let parts = [
        "sampled",
        "skipped",
        "lost_ring_full",
        "lost_map_full",
        "lost_unreadable",
    ];
    assert_eq!(
        count("segments"),
        parts.iter().map(|name| count(name)).sum::<u64>(),
        "{status:#}"
    );
    assert!(count("sampled") > 0, "{status:#}");
    assert_eq!(count("lost_ring_full"), 0, "{status:#}");
    assert_eq!(status["flows"]["seen"], 20, "{status:#}");
    let mut interfaces: Vec<_> = status["kernel"]["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|interface| interface["name"].as_str().unwrap())
        .collect();
    interfaces.sort_unstable();
    assert_eq!(interfaces, [scene.web.veth(), scene.db.veth()]);
    let programs = status["kernel"]["programs"].as_array().unwrap();
    assert_eq!(programs.len(), 2, "{status:#}");
    for program in programs {
        assert!(program["run_count"].as_u64().unwrap() > 0, "{status:#}");
    }
    let table = daemon.ask(&["status"])?;
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.out.contains(&scene.web.veth()), "{}", table.out);
    Ok(())
}

#[test]
fn tap_ends_when_told_to() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    // After a time, without output.
    let answer = daemon.ask(&["tap", "--no-headers", "--for", "200ms"])?;
    assert_eq!(
        (answer.code, answer.out.as_str()),
        (Some(0), ""),
        "{answer:?}"
    );

    // After this many flows, from connections that continue meanwhile.
    let many = ["--mode", "plain-http", "--connections", "100000"];
    let _client = scene.client(&scene.web, addr, &many)?;
    let answer = daemon.ask(&["tap", "-o", "logfmt", "--max", "3"])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(answer.out.lines().count(), 3, "{answer:?}");
    for line in answer.out.lines() {
        assert!(line.contains("src_res=shop/web dst_res=shop/db"), "{line}");
        assert!(line.contains("tls=no_tls_from_remote"), "{line}");
    }

    // When its reader closes the pipe.
    let mut pipe = Command::new("sh");
    pipe.args([
        "-c",
        "{ \"$0\" tap --no-headers --socket \"$1\"; echo $? >&2; } | head -1",
    ]);
    pipe.arg(bin::mtls()?).arg(daemon.socket());
    let mut pipe = Process::start(pipe)?;
    pipe.wait(PATIENCE)?;
    assert_eq!(pipe.out.all().len(), 1, "{}", pipe.told());
    assert_eq!(pipe.err.all(), ["0"]);

    // When the daemon ends, and then it says so.
    let mut tap = Command::new(bin::mtls()?);
    tap.args(["tap", "-o", "jsonl", "--socket"])
        .arg(daemon.socket());
    let mut tap = Process::start(tap)?;
    tap.out.find(PATIENCE, |_| Some(()));
    assert_eq!(daemon.stop(Signal::SIGTERM)?.code(), Some(0));
    assert_eq!(tap.wait(PATIENCE)?.code(), Some(1));
    assert!(
        tap.err.text().contains("the daemon stopped"),
        "{}",
        tap.told()
    );
    Ok(())
}

#[test]
fn doctor_finds_this_machine_fit_or_says_what_to_mend() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let answer = mtls(["doctor", "-o", "json"])?;
    let list: serde_json::Value = serde_json::from_str(&answer.out)?;
    let checks = list["items"].as_array().unwrap();
    assert!(checks.len() >= 5, "{answer:?}");
    let failed = checks.iter().any(|check| check["state"] == "fail");
    assert_eq!(answer.code, Some(i32::from(failed)));
    for check in checks {
        if check["state"] == "fail" {
            assert!(check["fix"].is_string(), "{check}");
        }
    }
    // Other tests run daemons here, so no check that the daemon depends on can fail.
    assert!(!failed, "{checks:#?}");
    Ok(())
}
