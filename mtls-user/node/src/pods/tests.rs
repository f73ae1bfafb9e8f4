use super::*;

const SECOND: u64 = 1_000_000_000;

fn pod(name: &str, ip: &str) -> Entry {
    Entry {
        workload: Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: "pod".into(),
            pod: Some(name.into()),
            ..Workload::default()
        },
        addresses: vec![ip.parse().unwrap()],
        ..Entry::default()
    }
}

fn name(directory: &Directory, ip: &str, time: u64) -> smol_str::SmolStr {
    directory.name(ip.parse().unwrap(), 0, time).name
}

#[test]
fn an_address_used_again_goes_to_the_right_pod_by_time() {
    let directory = Directory::new();
    directory.publish(Source::Cri, [pod("old", "10.0.0.1")], 100 * SECOND);
    directory.publish(Source::Cri, [pod("new", "10.0.0.1")], 200 * SECOND);
    let name = |time| name(&directory, "10.0.0.1", time);
    assert_eq!(name(99 * SECOND), "old", "older than the news of it");
    assert_eq!(name(150 * SECOND), "old");
    assert_eq!(name(201 * SECOND), "new");
    directory.publish(Source::Cri, [pod("x", "10.0.0.9")], 300 * SECOND);
    assert_eq!(name(301 * SECOND), "new", "late events of a pod that ended");
    directory.publish(
        Source::Cri,
        Vec::<Entry>::new(),
        300 * SECOND + GRACE.as_nanos() as u64,
    );
    assert_eq!(name(700 * SECOND), "10.0.0.1");
}

#[test]
fn a_pod_that_says_when_it_began_has_its_address_from_then_on() {
    let directory = Directory::new();
    directory.publish(Source::Cri, [pod("old", "10.0.0.1")], 100 * SECOND);
    let new = Entry {
        since: Some(190 * SECOND),
        ..pod("new", "10.0.0.1")
    };
    // Both are reported at the same time, because the runtime is queried only every few seconds.
    directory.publish(Source::Cri, [new], 200 * SECOND);
    assert_eq!(name(&directory, "10.0.0.1", 195 * SECOND), "new");
    assert_eq!(name(&directory, "10.0.0.1", 185 * SECOND), "old");
}

#[test]
fn a_source_out_of_reach_is_said_to_be_stale() {
    let directory = Directory::new();
    let ip = "10.0.0.1".parse().unwrap();
    let web = || [pod("web", "10.0.0.1")];
    directory.publish(Source::Cri, web(), 100 * SECOND);
    assert_eq!(directory.name(ip, 0, 110 * SECOND).stale, None);
    directory.fail(Source::Cri, "connection refused".into());
    let workload = directory.name(ip, 0, 130 * SECOND);
    assert_eq!((workload.name.as_str(), workload.stale), ("web", Some(30)));
    assert_eq!(
        directory.health()[0].error.as_deref(),
        Some("connection refused")
    );
    directory.publish(Source::Cri, web(), 140 * SECOND);
    assert!(directory.health()[0].error.is_none());
    assert_eq!(directory.name(ip, 0, 150 * SECOND).stale, None);
    directory.fail(Source::Cri, "connection refused".into());
    directory.confirm(Source::Cri, 160 * SECOND);
    assert_eq!(directory.name(ip, 0, 170 * SECOND).stale, None);
}

#[test]
fn unknown_addresses_are_told_from_the_world_outside() {
    let directory = Directory::new();
    let web = Entry {
        links: vec![7],
        ..pod("web", "10.0.0.1")
    };
    directory.publish(Source::Netns, [web], SECOND);
    let kind = |ip: &str| directory.name(ip.parse().unwrap(), 0, SECOND).kind;
    assert_eq!(kind("10.9.9.9"), "unknown");
    assert_eq!(kind("fd00::1"), "unknown");
    assert_eq!(kind("1.1.1.1"), "external");
    assert_eq!(kind("::ffff:10.0.0.1"), "pod");
    let behind = directory.find_link(7, SECOND).unwrap();
    assert_eq!(behind.entry.workload.name, "web");
    assert!(directory.find_link(8, SECOND).is_none());
}

#[test]
fn what_two_sources_know_of_a_pod_is_put_together() {
    let directory = Directory::new();
    let runtime = Entry {
        uid: "u1".into(),
        links: vec![5],
        ..pod("web-1-x", "10.0.0.1")
    };
    let mut api = Entry {
        uid: "u1".into(),
        ..pod("web-1-x", "10.0.0.1")
    };
    api.workload.kind = "deployment".into();
    api.workload.name = "web".into();
    api.workload.service_account = Some("web-sa".into());
    directory.publish(Source::Cri, [runtime], 100 * SECOND);
    assert_eq!(name(&directory, "10.0.0.1", 110 * SECOND), "web-1-x");
    directory.publish(Source::Kubernetes, [api.clone()], 120 * SECOND);
    let found = directory
        .find("10.0.0.1".parse().unwrap(), 0, 130 * SECOND)
        .unwrap();
    assert_eq!(found.entry.workload.name, "web");
    assert_eq!(
        found.entry.workload.service_account.as_deref(),
        Some("web-sa")
    );
    assert_eq!(found.entry.links, [5]);

    // The API server lags behind: the runtime already has another pod with that name there.
    let again = Entry {
        uid: "u2".into(),
        ..pod("web-1-x", "10.0.0.1")
    };
    directory.publish(Source::Cri, [again], 140 * SECOND);
    let found = directory
        .find("10.0.0.1".parse().unwrap(), 0, 150 * SECOND)
        .unwrap();
    assert_eq!(found.entry.workload.service_account, None);
}

#[test]
fn the_runtime_knows_best_who_has_an_address_while_it_can_be_asked() {
    let directory = Directory::new();
    directory.publish(Source::Kubernetes, [pod("gone", "10.0.0.1")], 100 * SECOND);
    directory.publish(Source::Cri, [pod("here", "10.0.0.1")], 110 * SECOND);
    assert_eq!(name(&directory, "10.0.0.1", 120 * SECOND), "here");
    directory.fail(Source::Cri, "down".into());
    directory.publish(Source::Kubernetes, [pod("next", "10.0.0.1")], 130 * SECOND);
    assert_eq!(name(&directory, "10.0.0.1", 140 * SECOND), "next");
}

#[test]
fn a_shared_address_is_named_by_its_port() {
    let directory = Directory::new();
    let node = Entry {
        workload: Workload {
            name: "node1".into(),
            kind: "node".into(),
            ..Workload::default()
        },
        addresses: vec!["192.168.0.1".parse().unwrap()],
        ..Entry::default()
    };
    let node_port = Entry {
        workload: Workload {
            name: "web".into(),
            kind: "service".into(),
            ..Workload::default()
        },
        addresses: vec![ANY],
        ports: vec![30_080],
        ..Entry::default()
    };
    let host_pod = Entry {
        ports: vec![9100],
        ..pod("exporter", "192.168.0.1")
    };
    directory.publish(Source::Node, [node], SECOND);
    directory.publish(Source::Services, [node_port], SECOND);
    directory.publish(Source::Kubernetes, [host_pod], SECOND);
    let name = |ip: &str, port| directory.name(ip.parse().unwrap(), port, SECOND).name;
    assert_eq!(name("192.168.0.1", 30_080), "web");
    assert_eq!(name("192.168.0.1", 9100), "exporter");
    assert_eq!(name("192.168.0.1", 22), "node1");
    assert_eq!(
        name("10.0.0.1", 30_080),
        "10.0.0.1",
        "not an address of this node"
    );
}

#[test]
fn every_source_has_a_row_in_the_documentation() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/names.md");
    let page = std::fs::read_to_string(page).expect("docs/names.md");
    for source in Source::ALL {
        let row = format!("\n| `{}` | ", source.as_str());
        assert!(
            page.contains(&row),
            "docs/names.md has no row of {source:?}"
        );
    }
}

#[test]
fn a_nodes_pods_are_there_with_the_interfaces_that_its_own_tables_name() {
    let directory = Directory::new();
    let on = |node: &str, name: &str, ip: &str| {
        let mut entry = pod(name, ip);
        entry.facts.node = Some(node.into());
        entry
    };
    let mut hosted = on("n1", "hosted", "10.55.0.1");
    hosted.facts.host_network = true;
    let mut forwarded = on("n1", "web", "10.55.0.1");
    forwarded.ports = vec![80];
    let mut starting = on("n1", "starting", "10.0.0.8");
    starting.addresses.clear();
    let (web, db) = (on("n1", "web", "10.0.0.1"), on("n1", "db", "10.0.0.2"));
    let far = on("n2", "far", "10.0.1.1");
    let all = [hosted, forwarded, starting, web, db, far];
    directory.publish(Source::Kubernetes, all, 100 * SECOND);
    let pods = || {
        let mut pods: Vec<_> = directory
            .local_pods("n1")
            .into_iter()
            .map(|pod| (pod.name.to_string(), pod.links))
            .collect();
        pods.sort();
        pods
    };
    let known = |db: &[u32], web: &[u32]| [("db".into(), db.into()), ("web".into(), web.into())];
    assert_eq!(pods(), known(&[], &[]));

    let at = |ip: &str| ip.parse::<IpAddr>().unwrap();
    directory.name_interface(7, Some("veth7"));
    // Interface 3 does not belong to a pod.
    directory.place([(at("10.0.0.1"), 7), (at("10.0.0.2"), 3)]);
    assert_eq!(pods(), known(&[], &[7]));
    assert_eq!(directory.unplaced("n1"), [at("10.0.0.2")]);
    directory.place([]);
    assert_eq!(pods(), known(&[], &[7]), "the neighbour was forgotten");
    // The runtime reports the same, or more.
    let mut local = pod("web", "10.0.0.1");
    local.links = vec![7, 8];
    directory.publish(Source::Cri, [local], 100 * SECOND);
    assert_eq!(pods(), known(&[], &[7, 8]));
    directory.publish(Source::Cri, Vec::<Entry>::new(), 101 * SECOND);
    directory.name_interface(7, None);
    directory.place([]);
    assert_eq!(pods(), known(&[], &[]));
}
