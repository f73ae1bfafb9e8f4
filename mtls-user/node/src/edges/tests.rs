use super::*;
use mtls_core::record::{
    Exempt, Exemption, Kind, Mark, Origin, Peer, Reporter, Time, TlsInfo, Verdict,
};

const SECOND: u64 = 1_000_000_000;

fn table() -> EdgeTable {
    EdgeTable::new(Duration::from_mins(1), Some("node-1".into()))
}

fn peer(name: &str, port: u16) -> Peer {
    Peer {
        ip: None,
        port: Some(port),
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: Kind::Pod.into(),
            ..Workload::default()
        }),
    }
}

/// A flow from `web` to `db`, seen from its start.
fn flow(number: u64, verdict: Verdict, time: u64, closed: bool) -> FlowRecord {
    let event = if closed {
        Event::Closed
    } else {
        Event::Classified
    };
    FlowRecord {
        event: Some(event.into()),
        connection: Some(number),
        src: peer("web", 40_000),
        dst: peer("db", 5432),
        verdict: verdict.into(),
        reason: verdict.as_str().into(),
        origin: Origin::Syn.into(),
        reporter: Some(Reporter::Both.into()),
        first_seen: Time::from_nanos(time),
        last_seen: Time::from_nanos(time),
        ..FlowRecord::default()
    }
}

fn only(table: &mut EdgeTable, now: u64) -> EdgeRecord {
    let records = table.records(now);
    assert_eq!(records.len(), 1, "{records:#?}");
    records.into_iter().next().unwrap()
}

#[test]
fn the_worst_flow_names_the_edge_and_the_mix_is_kept() {
    let mut table = table();
    for number in 0..9 {
        table.observe(&flow(number, Verdict::Mtls, SECOND, true));
    }
    table.observe(&flow(9, Verdict::Plaintext, 2 * SECOND, false));
    let edge = only(&mut table, 2 * SECOND);
    assert_eq!(edge.verdict, Some(Verdict::Plaintext.into()));
    assert_eq!(edge.mark, Some(Mark::Clear.into()));
    assert_eq!(edge.verdict_counts[&Verdict::Mtls.into()], 9);
    assert_eq!(edge.verdict_counts[&Verdict::Plaintext.into()], 1);
    assert_eq!(edge.reason.as_deref(), Some("plaintext"));
    assert_eq!((edge.connections, edge.open_connections), (10, 1));
    let seen = edge.verdict_seen[&Verdict::Mtls.into()];
    assert_eq!(seen.last_seen, Time::from_nanos(SECOND));
    assert_eq!(edge.node.as_deref(), Some("node-1"));
    assert_eq!(edge.dst.port, Some(5432));
}

#[test]
fn a_revised_flow_counts_once() {
    let mut table = table();
    table.observe(&flow(1, Verdict::Mtls, SECOND, false));
    table.observe(&flow(1, Verdict::Plaintext, 2 * SECOND, false));
    table.observe(&flow(1, Verdict::Plaintext, 3 * SECOND, true));
    let edge = only(&mut table, 3 * SECOND);
    assert_eq!(edge.verdict_counts, [(Verdict::Plaintext.into(), 1)].into());
    assert_eq!(table.stats().open_connections, 0);
}

#[test]
fn closed_flows_stay_for_the_window_and_open_ones_for_as_long_as_they_are_open() {
    let mut table = table();
    table.observe(&flow(1, Verdict::Mtls, SECOND, true));
    assert_eq!(table.records(59 * SECOND).len(), 1);
    assert_eq!(table.records(200 * SECOND).len(), 0);
    table.observe(&flow(2, Verdict::Tls, 200 * SECOND, false));
    assert_eq!(table.records(9_000 * SECOND).len(), 1);
}

#[test]
fn what_left_the_window_names_the_edge_no_more() {
    let mut table = table();
    table.observe(&flow(1, Verdict::Plaintext, SECOND, true));
    table.observe(&flow(2, Verdict::Mtls, SECOND, false));
    assert_eq!(only(&mut table, SECOND).mark, Some(Mark::Clear.into()));
    let later = only(&mut table, 200 * SECOND);
    assert_eq!(later.mark, Some(Mark::Mutual.into()));
    assert_eq!(later.verdict_counts, [(Verdict::Mtls.into(), 1)].into());
}

#[test]
fn an_edge_of_failed_handshakes_alone_has_no_good_mark() {
    let mut table = table();
    table.observe(&flow(1, Verdict::Failed, SECOND, true));
    assert_eq!(only(&mut table, SECOND).mark, Some(Mark::Unknown.into()));
    table.observe(&flow(2, Verdict::Mtls, SECOND, true));
    let edge = only(&mut table, SECOND);
    assert_eq!(edge.mark, Some(Mark::Mutual.into()), "it exposed nothing");
}

#[test]
fn an_edge_that_was_not_seen_whole_is_never_mutual() {
    let mut lossy = flow(2, Verdict::Mtls, SECOND, true);
    lossy.lost = true;
    let mut late = flow(3, Verdict::Mtls, SECOND, true);
    late.origin = Origin::Midstream.into();
    let unobserved = flow(4, Verdict::Unobserved, SECOND, true);
    for (other, coverage) in [
        (lossy, (1, 1, 0)),
        (late, (1, 1, 0)),
        (unobserved, (1, 0, 1)),
    ] {
        let mut table = table();
        table.observe(&flow(1, Verdict::Mtls, SECOND, true));
        assert_eq!(only(&mut table, SECOND).mark, Some(Mark::Mutual.into()));
        table.observe(&other);
        let edge = only(&mut table, SECOND);
        assert_eq!(edge.mark, Some(Mark::Unknown.into()));
        let seen = edge.coverage;
        assert_eq!((seen.complete, seen.partial, seen.unobserved), coverage);
    }
}

#[test]
fn exempt_flows_are_counted_and_name_nothing() {
    let mut table = table();
    let mut probe = flow(1, Verdict::Plaintext, SECOND, true);
    probe.exempt = Some(Exemption::from(Exempt::KubeletProbe));
    table.observe(&probe);
    let edge = only(&mut table, SECOND);
    assert_eq!((edge.mark, edge.verdict), (None, None));
    assert_eq!(
        edge.exempt_counts,
        [(Exempt::KubeletProbe.into(), 1)].into()
    );
    table.observe(&flow(2, Verdict::Mtls, SECOND, true));
    let edge = only(&mut table, SECOND);
    assert_eq!(edge.mark, Some(Mark::Mutual.into()));
    assert_eq!(edge.verdict_counts, [(Verdict::Mtls.into(), 1)].into());
    assert_eq!(edge.connections, 2);
}

#[test]
fn ports_kinds_transports_and_reporters_make_edges_of_their_own() {
    let mut table = table();
    let first = flow(1, Verdict::Mtls, SECOND, true);
    let mut all = vec![first.clone(); 5];
    all[1].dst.port = Some(6379);
    all[2].dst.workload.as_mut().unwrap().kind = Kind::Service.into();
    all[3].transport = Transport::Udp.into();
    all[4].reporter = Some(Reporter::Source.into());
    for (number, flow) in (1..).zip(&mut all) {
        flow.connection = Some(number);
        table.observe(flow);
    }
    let records = table.records(SECOND);
    assert_eq!(records.len(), 5);
    assert_eq!(EdgeRecord::fold(records).len(), 4);
}

#[test]
fn a_flow_that_gets_its_name_late_moves_to_the_right_edge() {
    let mut table = table();
    let mut early = flow(1, Verdict::Mtls, SECOND, false);
    early.dst = peer("10.0.0.7", 5432);
    early.reporter = Some(Reporter::Source.into());
    table.observe(&early);
    table.observe(&flow(1, Verdict::Mtls, 2 * SECOND, false));
    let edge = only(&mut table, 2 * SECOND);
    assert_eq!(edge.dst.name(), "db");
    assert_eq!(edge.connections, 1);
}

#[test]
fn any_number_of_identities_costs_no_more_than_the_bound() {
    let mut table = table();
    for number in 0..10_000 {
        let mut flow = flow(number, Verdict::Mtls, SECOND, true);
        flow.tls = Some(Box::new(TlsInfo {
            client_identity: Some(smol_str::format_smolstr!("spiffe://x/{number}")),
            ..TlsInfo::default()
        }));
        table.observe(&flow);
    }
    let edge = only(&mut table, SECOND);
    assert_eq!(edge.connections, 10_000);
    assert_eq!(edge.verdict_counts, [(Verdict::Mtls.into(), 10_000)].into());
    assert!(
        table
            .edges
            .iter()
            .all(|(_, e)| e.classes.len() <= MAX_CLASSES + 8)
    );
}

#[test]
fn a_full_table_gives_up_what_is_safe_before_what_is_in_clear() {
    let mut table = table();
    let mut clear = flow(0, Verdict::Plaintext, SECOND, true);
    clear.dst = peer("victim", 80);
    table.observe(&clear);
    let from = std::time::Instant::now();
    for number in 1..=(MAX_EDGES as u64 + 5_000) {
        let mut flow = flow(number, Verdict::Mtls, SECOND + number, number % 2 == 0);
        flow.dst = peer(&number.to_string(), 443);
        table.observe(&flow);
    }
    assert!(
        from.elapsed() < Duration::from_secs(20),
        "{:?}",
        from.elapsed()
    );
    assert_eq!(table.stats().edges, MAX_EDGES);
    assert_eq!(table.stats().evicted, 5_001);
    let records = table.records(SECOND);
    assert!(records.iter().any(|edge| edge.dst.name() == "victim"));
    // A connection whose edge is gone is counted again.
    let mut flow = flow(1, Verdict::Mtls, 2 * SECOND, true);
    flow.dst = peer("1", 443);
    table.observe(&flow);
}

#[test]
fn connections_are_told_by_their_ids_with_the_edge_they_are_of() {
    let mut table = table();
    let told = |number: u64, verdict, time, closed| FlowRecord {
        id: Some(format!("{number:016x}").into()),
        ..flow(number, verdict, time, closed)
    };
    for number in 0..10 {
        table.observe(&told(number, Verdict::NoData, SECOND, false));
        table.observe(&told(number, Verdict::Mtls, SECOND, number < 5));
    }
    table.observe(&flow(99, Verdict::Mtls, SECOND, true));
    let (edges, ids) = table.connections(SECOND, 100);
    assert_eq!(edges[0].connections, 11);
    assert_eq!(ids.below, None);
    let [alike] = ids.items.as_slice() else {
        panic!("{ids:?}");
    };
    assert_eq!(
        (alike.edge, alike.exempt, alike.what.as_str()),
        (0, false, "mtls")
    );
    let mut all = alike.ids.clone();
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<u64>>());
    // A sample contains the smallest ids, and says up to which bound.
    let (_, some) = table.connections(SECOND, 4);
    assert_eq!(some.below, Some(4));
    let mut told: Vec<u64> = some.items[0].ids.clone();
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3]);
    // Closed ones leave the window.
    let (edges, ids) = table.connections(200 * SECOND, 100);
    assert_eq!((edges[0].connections, ids.items[0].ids.len()), (5, 5));
}

#[test]
fn ids_are_bounded_and_say_so() {
    let mut table = table();
    let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for n in 0..100_000 {
        let id = Some(format!("{:016x}", number(n)).into());
        let flow = flow(n, Verdict::Mtls, SECOND, true);
        table.observe(&FlowRecord { id, ..flow });
    }
    let (edges, ids) = table.connections(SECOND, usize::MAX);
    assert_eq!(edges[0].connections, 100_000);
    let below = ids.below.unwrap();
    let mut told: Vec<u64> = ids.items.iter().flat_map(|one| one.ids.clone()).collect();
    told.sort_unstable();
    let mut wanted: Vec<u64> = (0..100_000).map(number).filter(|id| *id < below).collect();
    wanted.sort_unstable();
    assert!(
        told.len() > 30_000 && told.len() <= 65_536,
        "{}",
        told.len()
    );
    assert_eq!(told, wanted);
    // After a window with fewer connections, all are reported again.
    for minute in 2..6 {
        table.expire(minute * 70 * SECOND);
    }
    let id = Some("ffffffffffffffff".into());
    let late = flow(1, Verdict::Mtls, 400 * SECOND, false);
    table.observe(&FlowRecord { id, ..late });
    let (_, ids) = table.connections(400 * SECOND, 10);
    assert_eq!((ids.below, ids.items.len()), (None, 1));
}

/// Invented addresses add one edge, not as many as there are addresses; plaintext among them is
/// visible.
#[test]
fn strangers_beyond_a_bound_are_one_edge() {
    const MANY: u64 = 5_000;
    let mut table = table();
    let stranger = |n: u64, kind: Kind| {
        let mut end = peer(
            &format!("198.18.{}.{}", n / 256, n % 256),
            (n % 60_000) as u16,
        );
        end.workload = end.workload.map(|who| Workload {
            namespace: SmolStr::default(),
            kind: kind.into(),
            ..who
        });
        end
    };
    for n in 0..MANY {
        let verdict = match n {
            4_000 => Verdict::Plaintext,
            _ => Verdict::Mtls,
        };
        let flow = flow(n, verdict, SECOND, n % 2 == 0);
        let dst = stranger(n, Kind::External);
        table.observe(&FlowRecord { dst, ..flow });
    }
    // Neither earlier edges nor another workload are affected.
    let known = stranger(7, Kind::External);
    let again = flow(MANY, Verdict::Mtls, SECOND, true);
    table.observe(&FlowRecord {
        dst: known,
        ..again
    });
    table.observe(&flow(MANY + 1, Verdict::Mtls, SECOND, true));
    for n in 0..3_000 {
        let flow = flow(2 * MANY + n, Verdict::Tls, SECOND, true);
        let (src, dst) = (stranger(n, Kind::Unknown), peer("cart", 80));
        table.observe(&FlowRecord { src, dst, ..flow });
    }

    let records = table.records(SECOND);
    let most = strangers::MOST as usize;
    assert_eq!(records.len(), 2 * (most + 1) + 1);
    let all: u64 = records.iter().map(|edge| edge.connections).sum();
    assert_eq!(all, MANY + 2 + 3_000);
    let named = |name: &str| {
        let is = |end: &Peer| end.name() == name;
        let found = records.iter().find(|edge| is(&edge.src) || is(&edge.dst));
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let rest = named("external");
    assert_eq!(rest.connections, MANY - most as u64);
    assert_eq!(rest.mark, Some(Mark::Clear.into()));
    assert_eq!((rest.dst.port, rest.dst.ip), (None, None));
    assert_eq!(rest.src.name(), "web");
    assert_eq!(named("unknown").connections, 3_000 - most as u64);
    assert_eq!(named("198.18.0.7").connections, 2);

    // Removed edges make room.
    for n in (1..MANY).step_by(2) {
        let flow = flow(n, Verdict::Mtls, SECOND, true);
        let dst = stranger(n, Kind::External);
        table.observe(&FlowRecord { dst, ..flow });
    }
    assert_eq!(table.records(1_000 * SECOND).len(), 0);
    let late = flow(9 * MANY, Verdict::Mtls, 1_000 * SECOND, true);
    let dst = stranger(4_999, Kind::External);
    table.observe(&FlowRecord { dst, ..late });
    assert_eq!(only(&mut table, 1_000 * SECOND).dst.name(), "198.18.19.135");
}
