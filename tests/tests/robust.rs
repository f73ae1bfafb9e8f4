//! Failures, bad input and hostile neighbours: the daemon reports them and continues to work.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mtls_core::record::Time;
use mtls_tests::apiserver::{self, ApiServer};
use mtls_tests::bin;
use mtls_tests::census;
use mtls_tests::daemon::{Daemon, run};
use mtls_tests::netns::{Node, ip};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

/// Timeout of a query.
const ANSWER: Duration = Duration::from_secs(2);

#[test]
fn clients_that_ask_for_nothing_are_hung_up_on() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    let daemon = Daemon::start(&node)?;
    let before = census::of(daemon.pid())?;
    // Far more than are served at a time, each with half a request.
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut client = UnixStream::connect(daemon.socket())?;
        client.set_read_timeout(Some(Duration::from_secs(12)))?;
        // One that was already disconnected is also fine.
        let _ = client.write_all(b"GET /v1/edges HT");
        slow.push(client);
    }
    let asked = Instant::now();
    daemon.status()?;
    assert!(asked.elapsed() < ANSWER, "{:?}", asked.elapsed());
    let sockets = |census: &census::Census| census.get("socket").copied().unwrap_or_default();
    let held = sockets(&census::of(daemon.pid())?) - sockets(&before);
    assert!(held <= 64, "{held} clients at a time");
    // The timeout of the last one has passed too.
    let last = slow.last_mut().context("a client")?;
    let mut rest = Vec::new();
    let _ = last.read_to_end(&mut rest);
    drop(slow);
    let deadline = Instant::now() + Duration::from_secs(10);
    while sockets(&census::of(daemon.pid())?) > sockets(&before) {
        if Instant::now() > deadline {
            bail!("clients that are gone are still held: {before:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn answers_that_nobody_reads_cost_no_more_than_their_share() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let before = resident(daemon.pid())?;
    let mut unread = Vec::new();
    for path in ["/v1/tap", "/v1/edges", "/v1/status"] {
        for _ in 0..100 {
            let mut client = UnixStream::connect(daemon.socket())?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(3);
            // An excess client is disconnected, and sees it here.
            let _ = client.write_all(request.as_bytes());
            unread.push(client);
        }
    }
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    let many = ["--mode", "plain-http", "--connections", "2000"];
    scene.connect(&scene.web, addr, &many)?;
    let grown = resident(daemon.pid())?.saturating_sub(before);
    assert!(grown < 60_000, "{grown} KiB more");
    drop(unread);
    daemon.await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
    Ok(())
}

#[test]
fn nonsense_on_the_socket_is_answered_or_hung_up_on() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    let daemon = Daemon::start(&node)?;
    let long = format!(
        "GET /v1/edges HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    for request in [
        &b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST /v1/edges HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        b"\0\x01\x02\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0\0",
        long.as_bytes(),
    ] {
        let mut client = UnixStream::connect(daemon.socket())?;
        client.set_read_timeout(Some(Duration::from_secs(12)))?;
        let _ = client.write_all(request);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    daemon.status()?;
    Ok(())
}

#[test]
fn a_silent_pod_that_only_the_api_names_is_watched() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let api = ApiServer::start()?;
    for pod in [&scene.web, &scene.db] {
        let ip = pod.v4().to_string();
        api.apply("pods", apiserver::pod("shop", pod.workload(), "n1", &ip));
    }
    // As after minutes of silence: the node knows no neighbour, and the bridge no address. What the
    // operator configured stays.
    ip("link set cni0 type bridge fdb_flush\n\
        neigh flush all\n\
        neigh add 10.42.99.99 dev cni0 lladdr 02:00:00:00:00:99 nud permanent\n")?;
    let config = api.kubeconfig(scene.node.files())?.display().to_string();
    let nowhere = scene.node.empty_dir()?;
    let sources = ["--netns-dir", &nowhere, "--no-cri", "--kubeconfig", &config];
    let daemon = Daemon::start_over(
        &scene.node,
        &[&sources[..], &["--node-name", "n1"]].concat(),
    )?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let coverage = &daemon.status()?["coverage"];
        if [&coverage["pods"], &coverage["watched"]]
            .iter()
            .all(|n| **n == 2)
        {
            break;
        }
        ensure!(Instant::now() < deadline, "{coverage:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let kept = Command::new("ip")
        .args(["neigh", "show", "nud", "permanent"])
        .output()?;
    let kept = String::from_utf8_lossy(&kept.stdout).into_owned();
    ensure!(kept.contains("02:00:00:00:00:99"), "{kept}");
    Ok(())
}

#[test]
fn what_is_no_namespace_holds_nothing_up() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let dir = scene.node.netns_dir();
    nix::unistd::mkfifo(&dir.join("fifo"), Mode::S_IRWXU)?;
    std::os::unix::fs::symlink("/dev/zero", dir.join("device"))?;
    std::os::unix::fs::symlink("/nonexistent", dir.join("dangling"))?;
    std::fs::create_dir(dir.join("directory"))?;
    std::fs::write(dir.join("file"), "text")?;
    let daemon = Daemon::start(&scene.node)?;
    let status = daemon.status()?;
    assert_eq!(status["coverage"]["pods"], 2, "{status:#}");
    assert_eq!(status["coverage"]["watched"], 2, "{status:#}");
    let stopped = Instant::now();
    assert_eq!(daemon.stop(Signal::SIGTERM)?.code(), Some(0));
    assert!(stopped.elapsed() < ANSWER, "{:?}", stopped.elapsed());
    Ok(())
}

#[test]
fn a_wrong_path_is_an_error_that_names_it() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let node = Node::new()?;
    let socket = node.files().join("s.sock");
    for (flag, value) in [
        ("--kubeconfig", "/nonexistent/config"),
        ("--cri-endpoint", "/nonexistent/cri.sock"),
        ("--pods", "/nonexistent/pods"),
        ("--iface", "nonexistent0"),
        ("--iface", "lo"),
    ] {
        let answer = run(Daemon::command(&socket, &[flag, value])?)?;
        assert_eq!(answer.code, Some(1), "{flag} {value}: {answer:?}");
        assert!(answer.err.contains(value), "{flag} {value}: {answer:?}");
    }
    let directory = node.files().join("directory");
    std::fs::create_dir(&directory)?;
    let file = node.files().join("file");
    std::fs::write(&file, "precious")?;
    for (path, what) in [(&directory, "is a directory"), (&file, "is a file")] {
        let before = names(node.files())?;
        let answer = run(Daemon::command(path, &[])?)?;
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.err.contains(what), "{answer:?}");
        assert_eq!(names(node.files())?, before, "something was left behind");
    }
    assert_eq!(std::fs::read_to_string(&file)?, "precious");
    Ok(())
}

#[test]
fn a_successor_starts_straight_after_a_kill() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    burst(&scene, 20)?;
    for _ in 0..5 {
        let daemon = Daemon::start(&scene.node)?;
        daemon.await_interfaces(22)?;
        // The kernel releases its resources while the next one starts.
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(daemon.pid())?),
            Signal::SIGKILL,
        )?;
        let next = Daemon::start(&scene.node)?;
        next.await_interfaces(22)?;
        assert_eq!(next.stop(Signal::SIGTERM)?.code(), Some(0));
    }
    Ok(())
}

#[test]
fn what_could_not_be_attached_to_is_named_and_tried_again() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let socket = scene.node.files().join("mtls.sock");
    let netns = scene.node.netns_dir();
    let mut command = Command::new("prlimit");
    command.arg("--nofile=70:70").arg(bin::mtls()?);
    command
        .args(["daemon", "--no-cri", "--socket"])
        .arg(&socket);
    command.arg("--netns-dir").arg(&netns);
    let daemon = Daemon::start_as(command, socket)?;
    // One by one: those of a burst are watched with filters, which need no descriptors.
    let into = scene.web.netns().display();
    for n in 0..60 {
        ip(&format!(
            "link add vb{n} type veth peer name b{n} netns {into}\n"
        ))?;
        std::thread::sleep(Duration::from_millis(60));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        let status = daemon.status()?;
        let failed = status["kernel"]["not_attached"].as_array();
        if failed.is_some_and(|failed| !failed.is_empty()) {
            break status;
        }
        assert!(Instant::now() < deadline, "nothing failed: {status:#}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let reason = status["kernel"]["not_attached"][0]["reason"].as_str();
    assert!(
        reason
            .is_some_and(|reason| reason.starts_with("EMFILE: ") && reason.contains("LimitNOFILE")),
        "{status:#}"
    );
    // A descriptor becomes available, and is used without a request.
    let gone = |n| format!("link del vb{n}\n");
    ip(&(10..60).map(gone).collect::<String>())?;
    daemon.await_interfaces(12)?;
    let status = daemon.status()?;
    assert_eq!(status["kernel"]["not_attached"], json!([]), "{status:#}");
    Ok(())
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing_but_the_stamps() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["faketime"])]) {
        return Ok(());
    }
    for jump in ["+3h", "-3h"] {
        let scene = Scene::new()?;
        let socket = scene.node.files().join("mtls.sock");
        let clock = scene.node.files().join("clock");
        std::fs::write(&clock, "+0\n")?;
        let mut command = Daemon::command(&socket, &["--no-cri", "--window", "10m"])?;
        command.arg("--netns-dir").arg(scene.node.netns_dir());
        command
            .env("LD_PRELOAD", faketime()?)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_UPDATE_TIMESTAMP_FILE", "0");
        let daemon = Daemon::start_as(command, socket)?;
        let addr = at(scene.db.v4(), 8443);
        let _server = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
        scene.connect(&scene.web, addr, &["--mode", "mtls"])?;
        let before = daemon.await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
        std::fs::write(&clock, format!("{jump}\n"))?;
        std::thread::sleep(Duration::from_millis(2_500));
        scene.connect(&scene.web, addr, &["--mode", "mtls"])?;
        let after = daemon.await_edge("web", "db", |edge| edge["verdict_counts"]["mtls"] == 2)?;
        // Existing entries remain; only the stamps follow the clock.
        let stamp = |edge: &Value| -> Result<i64> {
            let text = edge["first_seen"].as_str().context("no stamp")?;
            Ok(Time::parse(text).context("no time")?.as_seconds())
        };
        let moved = (stamp(&before)? - stamp(&after)?).abs();
        assert!((moved - 3 * 3_600).abs() < 10, "{moved} s");
    }
    Ok(())
}

/// Makes `count` veths into a pod at once.
fn burst(scene: &Scene, count: usize) -> Result<()> {
    let into = scene.web.netns().display();
    let line = |n| format!("link add vb{n} type veth peer name b{n} netns {into}\n");
    ip(&(0..count).map(line).collect::<String>())
}

/// The names in a directory.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number.context("no VmRSS")?.trim().parse()?)
}

/// The library of the `faketime` program, wherever Debian has put it for this machine.
fn faketime() -> Result<String> {
    for arch in ["x86_64-linux-gnu", "aarch64-linux-gnu"] {
        let path = format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1");
        if Path::new(&path).is_file() {
            return Ok(path);
        }
    }
    bail!("faketime is there, and its library is not")
}
