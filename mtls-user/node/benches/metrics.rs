//! `cargo bench -p mtls-node --bench metrics`: the cost of a scrape with 10,000 edges.

use std::time::{Duration, Instant};

use mtls_core::record::{
    Event, FlowRecord, Kind, Origin, Peer, Reporter, Status, Time, Verdict, Workload,
};
use mtls_node::metrics::{Format, Meter, encode};

const EDGES: u64 = 10_000;
const ROUNDS: usize = 20;
/// The longest acceptable scrape.
const MOST: Duration = Duration::from_millis(50);

fn peer(name: String, port: Option<u16>) -> Peer {
    Peer {
        port,
        workload: Some(Workload {
            name: name.into(),
            namespace: "a-namespace-of-some-length".into(),
            kind: Kind::Deployment.into(),
            ..Workload::default()
        }),
        ..Peer::default()
    }
}

/// One open connection with an edge of its own.
fn flow(number: u64) -> FlowRecord {
    let verdict = [Verdict::Mtls, Verdict::Tls, Verdict::Plaintext][number as usize % 3];
    FlowRecord {
        event: Some(Event::Classified.into()),
        connection: Some(number),
        reporter: Some(Reporter::Destination.into()),
        src: peer(format!("deployment-{}", number % 200), None),
        dst: peer(format!("deployment-{}", number / 200), Some(8443)),
        verdict: verdict.into(),
        origin: Origin::Syn.into(),
        first_seen: Time::from_nanos(mtls_node::clock::now()),
        last_seen: Time::from_nanos(mtls_node::clock::now()),
        ..FlowRecord::default()
    }
}

fn main() {
    let mut meter = Meter::new(EDGES as usize);
    let flows: Vec<_> = (0..EDGES).map(flow).collect();
    let begun = Instant::now();
    for flow in &flows {
        meter.observe(flow);
    }
    let observed = begun.elapsed() / EDGES as u32;
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let snapshot = meter.snapshot();
            let copied = begun.elapsed();
            let page = encode(snapshot, Status::default(), Vec::new(), Format::Text);
            (begun.elapsed(), copied, page.expect("a page"))
        })
        .collect();
    times.sort_by_key(|(whole, ..)| *whole);
    let (whole, copied, page) = &times[ROUNDS / 2];
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!("an event: {observed:?}");
    println!("{EDGES} edges: {series} series, {} bytes", page.len());
    println!("the engine's part of a scrape: {copied:?} (median of {ROUNDS})");
    println!("a scrape: {whole:?} (median of {ROUNDS}), at most {MOST:?} wanted");
    assert!(*whole <= MOST, "a scrape takes too long");
}
