use super::*;

const SECOND: u64 = 1_000_000_000;

fn pod(name: &str, ip: &str) -> Entry {
    Entry {
        workload: Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: "pod".into(),
            ..Workload::default()
        },
        addresses: vec![ip.parse().unwrap()],
        links: vec![7],
    }
}

#[test]
fn an_address_used_again_goes_to_the_right_pod_by_time() {
    let directory = Directory::new();
    let ip = "10.0.0.1".parse().unwrap();
    directory.publish("a", vec![pod("old", "10.0.0.1")], 100 * SECOND);
    directory.publish("a", vec![pod("new", "10.0.0.1")], 200 * SECOND);
    let name = |time| directory.name(ip, None, time).name;
    assert_eq!(name(99 * SECOND), "old", "older than the news of it");
    assert_eq!(name(150 * SECOND), "old");
    assert_eq!(name(201 * SECOND), "new");
    directory.publish("a", vec![], 300 * SECOND);
    assert_eq!(name(301 * SECOND), "new", "late events of a pod that ended");
    directory.publish("a", vec![], 300 * SECOND + GRACE.as_nanos() as u64);
    assert_eq!(name(700 * SECOND), "10.0.0.1");
}

#[test]
fn a_source_out_of_reach_is_said_to_be_stale() {
    let directory = Directory::new();
    let ip = "10.0.0.1".parse().unwrap();
    directory.publish("a", vec![pod("web", "10.0.0.1")], 100 * SECOND);
    assert_eq!(directory.name(ip, None, 110 * SECOND).stale, None);
    directory.fail("a", "connection refused".into());
    let workload = directory.name(ip, None, 130 * SECOND);
    assert_eq!((workload.name.as_str(), workload.stale), ("web", Some(30)));
    assert_eq!(
        directory.health()[0].error.as_deref(),
        Some("connection refused")
    );
    directory.publish("a", vec![pod("web", "10.0.0.1")], 140 * SECOND);
    assert!(directory.health()[0].error.is_none());
}

#[test]
fn unknown_addresses_are_told_from_the_world_outside() {
    let directory = Directory::new();
    directory.publish("a", vec![pod("web", "10.0.0.1")], SECOND);
    let kind = |ip: &str, link| directory.name(ip.parse().unwrap(), link, SECOND).kind;
    assert_eq!(kind("10.9.9.9", None), "unknown");
    assert_eq!(kind("fd00::1", None), "unknown");
    assert_eq!(kind("1.1.1.1", None), "external");
    assert_eq!(kind("10.9.9.9", Some(7)), "pod");
}
