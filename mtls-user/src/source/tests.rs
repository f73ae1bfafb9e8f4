//! Saved answers are read as what they are, and as nothing else.

use std::path::Path;

use mtls_core::record::{
    EdgeList, EdgeRecord, Event, FlowRecord, List, SCHEMA, Status, Time, Verdict,
};

use super::Source;
use super::client::block_on;
use super::file::{Saved, of_json};

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn edges(items: Vec<EdgeRecord>) -> EdgeList {
    EdgeList {
        schema: SCHEMA,
        node: Some("node-1".into()),
        generated: Time::from_seconds(100),
        window_seconds: 600,
        nodes: None,
        watched: mtls_core::record::Watched::default(),
        items,
    }
}

#[test]
fn every_answer_is_known_again_the_empty_ones_too() {
    for list in [edges(vec![EdgeRecord::default()]), edges(Vec::new())] {
        match of_json(&json(&list)).unwrap() {
            Saved::Edges(read) => assert_eq!(read, list),
            other => panic!("{other:?}"),
        }
    }
    for items in [vec![FlowRecord::default()], Vec::new()] {
        let list = List::new(None, Time::default(), items);
        match of_json(&json(&list)).unwrap() {
            Saved::Flows(read) => assert_eq!(read.items, list.items),
            other => panic!("{other:?}"),
        }
    }
    let saved = of_json(&json(&Status::default())).unwrap();
    assert!(matches!(saved, Saved::Status(_)), "{saved:?}");
    let lines = [json(&EdgeRecord::default()), json(&EdgeRecord::default())].join(&b'\n');
    match of_json(&lines).unwrap() {
        Saved::Edges(list) => assert_eq!(list.items.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_tap_the_last_of_each_connection_counts() {
    let flow = |number, event: Event, verdict: Verdict| FlowRecord {
        connection: Some(number),
        event: Some(event.into()),
        verdict: verdict.into(),
        ..FlowRecord::default()
    };
    let lines = [
        json(&flow(1, Event::Classified, Verdict::Mtls)),
        json(&flow(2, Event::Classified, Verdict::Tls)),
        json(&flow(1, Event::Revised, Verdict::Plaintext)),
        json(&flow(1, Event::Closed, Verdict::Plaintext)),
    ];
    let Saved::Flows(list) = of_json(&lines.join(&b'\n')).unwrap() else {
        panic!("flows");
    };
    let verdicts: Vec<_> = list
        .items
        .iter()
        .map(|flow| flow.verdict.as_str())
        .collect();
    assert_eq!(verdicts, ["plaintext", "tls"]);
}

#[test]
fn what_is_no_answer_says_so() {
    for wrong in [
        "",
        "{}",
        "[]",
        "{\"schema\":1,\"items\":[]}",
        "{\"schema\":2}",
        "{\"schema\":2,\"items\":[{}]}",
        "{\"schema\":2,\"items\":[1",
        "nonsense",
        "{\"schema\":2,\"items\":[{\"verdict_counts\":1}]}",
    ] {
        assert!(of_json(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn the_edges_of_a_capture_are_what_its_flows_add_up_to() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/demo.pcap");
    let source = Source::File(Path::new(demo).into());
    let list = block_on(source.edges()).unwrap();
    let flows = block_on(source.flows()).unwrap();
    let connections: u64 = list.items.iter().map(|edge| edge.connections).sum();
    assert_eq!(connections, flows.items.len() as u64);
    assert_eq!(connections, 7);
    let clear = list
        .items
        .iter()
        .filter(|edge| edge.verdict == Some(Verdict::Plaintext.into()));
    assert_eq!(clear.count(), 2, "{:#?}", list.items);
    assert!(block_on(source.status()).is_err());
    assert!(block_on(Source::File("/nonexistent.json".into()).edges()).is_err());
}
