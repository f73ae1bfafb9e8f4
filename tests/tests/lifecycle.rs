//! Interfaces and daemons that appear and disappear: nothing missed, nothing leaked.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mtls_tests::census::{self, Census};
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::{Pod, ip};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn a_veth_made_again_under_its_old_name_is_watched_again() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    for round in 1..=5 {
        scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
        daemon.await_edge("web", "db", |edge| {
            edge["verdict_counts"] == json!({ "plaintext": round })
        })?;
        for pod in [&scene.web, &scene.db] {
            pod.disconnect(&pod.veth())?;
            pod.connect(&pod.veth())?;
            one_program_each_way(pod, &daemon)?;
        }
    }
    daemon.await_interfaces(2)
}

#[test]
fn a_daemon_that_was_killed_is_succeeded_by_another() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let addr = at(scene.db.v4(), 8443);
    let _server = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    for _ in 0..3 {
        let daemon = Daemon::start(&scene.node)?;
        for pod in [&scene.web, &scene.db] {
            one_program_each_way(pod, &daemon)?;
        }
        scene.connect(&scene.web, addr, &["--mode", "mtls"])?;
        daemon.await_edge("web", "db", |edge| {
            edge["verdict_counts"] == json!({ "mtls": 1 })
        })?;
        assert_eq!(daemon.stop(Signal::SIGKILL)?.code(), None);
    }
    let daemon = Daemon::start(&scene.node)?;
    one_program_each_way(&scene.web, &daemon)?;
    assert_eq!(daemon.stop(Signal::SIGTERM)?.code(), Some(0));
    assert_eq!(
        census::tcx(&scene.web.veth())?,
        [0, 0],
        "a daemon that stops takes its programs along"
    );
    Ok(())
}

#[test]
fn two_hundred_veths_come_and_go_under_traffic_and_leave_nothing() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8443);
    let _server = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    // Everything that is created lazily exists by now.
    churn(&scene, 8)?;
    scene.connect(&scene.web, addr, &["--mode", "mtls"])?;
    daemon.await_interfaces(2)?;
    daemon.await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
    let before = census::of(daemon.pid())?;

    let traffic = ["--mode", "mtls", "--connections", "1000000"];
    let client = scene.client(&scene.web, addr, &traffic)?;
    for n in 0..10 {
        // Pods with their own traffic, which end in the middle of it.
        let pod = scene.node.pod("churn", &format!("pod{n}"))?;
        let _own = scene.client(&pod, addr, &traffic)?;
        churn(&scene, 10)?;
    }
    // And all at once.
    churn(&scene, 100)?;
    drop(client);
    daemon.await_interfaces(2)?;
    let after = settled(&daemon, &before)?;
    assert_eq!(grown(&before, &after), [""; 0], "{}", daemon.log());

    let status = daemon.status()?;
    assert_eq!(status["kernel"]["not_attached"], json!([]), "{status:#}");
    scene.connect(&scene.db, at(scene.db.v4(), 8443), &["--mode", "mtls"])?;
    println!("held before and after: {before:?}");
    println!("attach latency: {}", status["kernel"]["attach"]);
    Ok(())
}

#[test]
fn a_daemon_that_was_away_says_what_it_missed() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start_with(&scene.node, &["--kernel-log"])?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http", "--body", "8192"])?;
    let pid = Pid::from_raw(i32::try_from(daemon.pid())?);
    kill(pid, Signal::SIGSTOP)?;
    // Some 5 KB of samples each: more than the ring buffer holds.
    scene.connect(
        &scene.web,
        addr,
        &["--mode", "plain-http", "--connections", "6000"],
    )?;
    kill(pid, Signal::SIGCONT)?;
    // Every one is reported once, and none stays open, whatever was lost of it.
    daemon.await_edge("web", "db", |edge| {
        let counts = edge["verdict_counts"].as_object();
        let all = counts.into_iter().flat_map(|counts| counts.values());
        let all: u64 = all.filter_map(Value::as_u64).sum();
        all == 6000 && edge["open_connections"] == 0 && edge["mark"] == "clear"
    })?;
    let edges = daemon.edges()?;
    assert_eq!(edges.len(), 1, "nobody spoofed anything: {edges:#?}");
    let causes = edges[0]["cause_counts"].as_object();
    let mut causes = causes.into_iter().flat_map(|causes| causes.keys());
    assert!(
        causes.all(|cause| ["samples-lost", "unencrypted"].contains(&cause.as_str())),
        "{edges:#?}"
    );
    assert_ne!(edges[0]["coverage"]["complete"], 6000, "{edges:#?}");
    // From here on, nothing is missed.
    let back = at(scene.web.v4(), 8080);
    let _other = scene.serve(&scene.web, back, &["--mode", "plain-http"])?;
    scene.connect(&scene.db, back, &["--mode", "plain-http"])?;
    daemon.await_edge("db", "web", |edge| {
        edge["open_connections"] == 0 && edge["verdict_counts"] == json!({ "plaintext": 1 })
    })?;
    let status = daemon.status()?;
    let counters = &status["kernel"]["counters"];
    let count = |name: &str| counters[name].as_u64().unwrap_or_default();
    let reasons = [
        "lost_ring_full",
        "lost_map_full",
        "lost_unreadable",
        "lost_over_share",
    ];
    let lost: u64 = reasons.map(count).iter().sum();
    assert!(lost > 0, "{counters:#}");
    assert_eq!(
        count("segments"),
        count("sampled") + count("skipped") + lost,
        "{counters:#}"
    );
    let charged = |interface: &Value| {
        let of = |reason| interface["lost"][reason].as_u64();
        ["ring-full", "map-full", "unreadable", "over-share"]
            .into_iter()
            .map(of)
            .sum::<Option<u64>>()
    };
    let interfaces = status["kernel"]["interfaces"].as_array();
    assert_eq!(
        interfaces
            .into_iter()
            .flatten()
            .filter_map(charged)
            .sum::<u64>(),
        lost,
        "{status:#}"
    );
    assert!(
        daemon.log().contains("sample lost on this CPU"),
        "{}",
        daemon.log()
    );
    Ok(())
}

#[test]
fn only_veths_that_lead_to_another_namespace_are_touched() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    ip("link add here type veth peer name there\n\
        link set here up\n\
        link set there up\n")?;
    let daemon = Daemon::start(&scene.node)?;
    daemon.await_interfaces(2)?;
    for other in ["here", "there", "cni0", "lo"] {
        assert_eq!(census::tcx(other)?, [0, 0], "{other}");
    }
    drop(daemon);
    let veth = scene.db.veth();
    let daemon = Daemon::start_with(&scene.node, &["--iface", &veth])?;
    daemon.await_interfaces(1)?;
    assert_eq!(census::tcx(&veth)?, [1, 1]);
    assert_eq!(census::tcx(&scene.web.veth())?, [0, 0]);
    Ok(())
}

#[test]
fn programs_of_others_are_still_run() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let veth = scene.db.veth();
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    let daemon = Daemon::start(&scene.node)?;
    scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    daemon.await_edge("web", "db", |edge| edge["open_connections"] == 0)?;

    // As a CNI may have for a network policy, after ours on the same hook: it drops everything.
    tc(&format!("qdisc add dev {veth} clsact"))?;
    tc(&format!(
        "filter add dev {veth} egress prio 1 bpf bytecode 1,6\u{a0}0\u{a0}0\u{a0}2 da"
    ))?;
    let segments = || -> Result<Option<u64>> {
        Ok(daemon.status()?["kernel"]["counters"]["segments"].as_u64())
    };
    let before = segments()?;
    let mut client = scene.client(&scene.web, addr, &["--mode", "plain-http"])?;
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        client.running()?,
        "the other program was passed by: {}",
        client.told()
    );
    // The SYN on either veth; the first retransmission comes after a second.
    assert_eq!(segments()?, before.map(|before| before + 2));
    drop(client);

    // And it outlives the daemon.
    assert_eq!(daemon.stop(Signal::SIGTERM)?.code(), Some(0));
    assert!(tc(&format!("filter show dev {veth} egress"))?.contains("bytecode"));
    Ok(())
}

/// Runs `tc`; a no-break space stands for a space within an argument.
fn tc(args: &str) -> Result<String> {
    let mut command = Command::new("tc");
    command.args(args.split(' ').map(|arg| arg.replace('\u{a0}', " ")));
    let answer = mtls_tests::daemon::run(command)?;
    if answer.code != Some(0) {
        bail!("tc {args}: {answer:?}");
    }
    Ok(answer.out)
}

/// Creates `count` veths into a pod at once, and deletes them.
fn churn(scene: &Scene, count: usize) -> Result<()> {
    let into = scene.web.netns().display();
    let lines = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    ip(&lines(&|n| {
        format!("link add vethc{n} type veth peer name c{n} netns {into}\nlink set vethc{n} up\n")
    }))?;
    ip(&lines(&|n| format!("link del vethc{n}\n")))
}

/// The daemon's resources once they are no more than before, or after 15 seconds.
fn settled(daemon: &Daemon, before: &Census) -> Result<Census> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        // tokio's threads for blocking work end after ten idle seconds.
        let now = census::of(daemon.pid())?;
        if grown(before, &now).is_empty() || Instant::now() > deadline {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The kinds of resources that have increased.
fn grown<'a>(before: &Census, after: &'a Census) -> Vec<&'a str> {
    let more = |(kind, count): (&'a String, &usize)| {
        (*count > before.get(kind).copied().unwrap_or(0)).then_some(kind.as_str())
    };
    after.iter().filter_map(more).collect()
}

/// Waits until the pod's veth has exactly one program in each direction.
fn one_program_each_way(pod: &Pod, daemon: &Daemon) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let programs = census::tcx(&pod.veth())?;
        if programs == [1, 1] {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{} has {programs:?} programs\n{}", pod.veth(), daemon.log());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
