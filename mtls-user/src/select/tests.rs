//! What each filter takes and leaves.

use mtls_core::record::{EdgeRecord, FlowRecord, Kind, Mark, Peer, Tally, Time, Verdict, Workload};

use super::{End, Filter, Since, Test};

fn peer(namespace: &str, kind: Kind, name: &str) -> Peer {
    Peer {
        workload: Some(Workload {
            name: name.into(),
            namespace: namespace.into(),
            kind: kind.into(),
            pod: (kind == Kind::Deployment).then(|| format!("{name}-7d4-x2x").into()),
            ..Workload::default()
        }),
        ..Peer::default()
    }
}

fn flow() -> FlowRecord {
    let mut src = peer("shop", Kind::Deployment, "web");
    src.ip = Some("10.0.0.7".parse().unwrap());
    let mut dst = peer("data", Kind::StatefulSet, "pg");
    dst.port = Some(5432);
    FlowRecord {
        src,
        dst,
        verdict: Verdict::Plaintext.into(),
        protocol: "postgresql".into(),
        last_seen: Time::from_seconds(100),
        ..FlowRecord::default()
    }
}

/// Eight in clear, one mutual.
fn edge() -> EdgeRecord {
    EdgeRecord {
        src: flow().src,
        dst: flow().dst,
        mark: Some(Mark::Clear.into()),
        verdict: Some(Verdict::Plaintext.into()),
        verdict_counts: [(Verdict::Plaintext.into(), 8), (Verdict::Mtls.into(), 1)].into(),
        connections: 9,
        protocols: Tally {
            values: [("postgresql".into(), 8), ("tls".into(), 1)].into(),
            other: 0,
        },
        ..EdgeRecord::default()
    }
}

fn only(test: Test) -> Filter {
    Filter {
        all: vec![vec![test]],
        ..Filter::default()
    }
}

fn not(test: Test) -> Filter {
    Filter {
        not: vec![test],
        ..Filter::default()
    }
}

fn end(text: &str) -> End {
    text.parse().unwrap()
}

#[test]
fn an_end_is_found_by_every_name_it_has() {
    let client = flow().src;
    for name in [
        "web",
        "shop/web",
        "deploy/web",
        "deployment/web",
        "deployments/web",
        "ns/shop",
        "shop/deploy/web",
        "pod/web-7d4-x2x",
        "shop/pod/web-7d4-x2x",
        "web-7d4-x2x",
        "10.0.0.7",
        "10.0.0.0/24",
    ] {
        assert!(end(name).is(&client), "{name}");
    }
    for name in [
        "pg",
        "data/web",
        "sts/web",
        "ns/data",
        "data/deploy/web",
        "pod/web",
        "10.0.1.0/24",
        "external",
        "unknown",
        "node",
        "svc/web",
    ] {
        assert!(!end(name).is(&client), "{name}");
    }
    let world = peer("", Kind::External, "203.0.113.9");
    assert!(end("external").is(&world) && end("203.0.113.0/24").is(&world));
    let node = peer("", Kind::Node, "node-1");
    assert!(end("node").is(&node) && end("node/node-1").is(&node));
}

#[test]
fn a_wrong_value_lists_the_right_ones() {
    for wrong in [
        "",
        "a//b",
        "a/b/c",
        "a/b/c/d",
        "deploy/",
        "web shop",
        "10.0.0.0/64x",
    ] {
        let error = wrong.parse::<End>().unwrap_err();
        assert!(
            error.contains("deploy/web") && error.contains("CIDR"),
            "{error}"
        );
    }
    let error = "green".parse::<super::Wanted>().unwrap_err();
    for verdict in Verdict::ALL {
        assert!(error.contains(verdict.as_str()), "{error}");
    }
    for wrong in ["0x50", "70000", "9-8", "-1", ""] {
        assert!(wrong.parse::<super::Ports>().is_err(), "{wrong}");
    }
}

#[test]
fn filters_are_all_to_be_met_and_their_values_are_alternatives() {
    let at = Time::from_seconds(100);
    let mut filter = only(Test::From(end("deploy/web")));
    filter.all[0].insert(0, Test::From(end("nobody")));
    filter
        .all
        .push(vec![Test::Port("5000-6000".parse().unwrap())]);
    assert!(filter.takes(&flow(), at));
    filter.all.push(vec![Test::To(end("ns/shop"))]);
    assert!(!filter.takes(&flow(), at));
    let between = Test::Between(end("pg"), end("web"));
    assert!(only(between).takes(&flow(), at));
    assert!(only(Test::Namespace("data".into())).takes(&flow(), at));
    assert!(!only(Test::Namespace("ops".into())).takes(&flow(), at));
}

#[test]
fn a_filter_never_hides_what_it_does_not_name() {
    let at = Time::from_seconds(100);
    let verdict = |word: &str| Test::Verdict(word.parse().unwrap());
    // Eight connections in clear are no mutual ones: the edge is not what is left out.
    assert!(not(verdict("mtls")).takes(&edge(), at));
    assert!(not(verdict("plaintext")).takes(&edge(), at));
    assert!(!not(verdict("clear")).takes(&edge(), at));
    assert!(only(verdict("mtls")).takes(&edge(), at));
    assert!(!only(verdict("tls")).takes(&edge(), at));
    assert!(not(Test::Protocol("tls".into())).takes(&edge(), at));
    let mut more = edge();
    more.protocols.other = 1;
    assert!(only(Test::Protocol("redis".into())).takes(&more, at));
    assert!(!only(Test::Protocol("redis".into())).takes(&edge(), at));
    assert!(!not(verdict("plaintext")).takes(&flow(), at));
}

#[test]
fn a_protocol_is_asked_for_with_or_without_its_version() {
    for (asked, protocol, is) in [
        ("http", "http/1.1", true),
        ("HTTP/1.1", "http/1.1", true),
        ("http", "https", false),
        ("postgres", "postgresql", false),
    ] {
        assert_eq!(super::word::is_protocol(asked, protocol), is, "{asked}");
    }
}

#[test]
fn since_and_last_are_by_the_time_last_seen() {
    let seen = |second: i64| FlowRecord {
        last_seen: Time::from_seconds(second),
        ..flow()
    };
    let times = |filter: &Filter| {
        let mut items = vec![seen(30), seen(10), seen(40), seen(20), seen(40)];
        filter.apply(&mut items, Time::from_seconds(50));
        let times = items.iter().map(|flow| flow.last_seen.as_seconds());
        times.collect::<Vec<_>>()
    };
    let since = |since| Filter {
        since: Some(since),
        ..Filter::default()
    };
    let ago = Since::Ago(std::time::Duration::from_secs(20));
    assert_eq!(times(&since(ago)), [30, 40, 40]);
    assert_eq!(times(&since(Since::At(Time::from_seconds(40)))), [40, 40]);
    let last = |n| Filter {
        last: Some(n),
        ..Filter::default()
    };
    assert_eq!(times(&last(2)), [40, 40]);
    assert_eq!(times(&last(3)), [30, 40, 40]);
    assert_eq!(times(&last(9)), [30, 10, 40, 20, 40]);
}
