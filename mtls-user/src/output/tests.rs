//! What every table, line and JSON document looks like: read the difference before you accept it
//! (`INSTA_UPDATE=always cargo test -p mtls-user`).

use insta::assert_snapshot;
use mtls_core::record::{EdgeList, EdgeRecord, FlowList, History, List, SCHEMA, TapLine, Watched};
use serde::Serialize;

use super::fixtures::{at, checks, datagrams, hostile, list, mutual, status_of_a_node};
use super::{
    Listing, Look, Screen, Sheet, Style, classified, doctor, edge_name, edges, flow_line,
    sort_edges, status, tap_header, tap_line,
};

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The edges, as `mtls edges` shows them.
#[derive(Serialize)]
#[serde(transparent)]
struct Edges(EdgeList);

impl Listing for Edges {
    type Item = EdgeRecord;

    fn items(&mut self) -> &mut Vec<EdgeRecord> {
        &mut self.0.items
    }

    fn sheet(&self, look: Look) -> Sheet {
        edges(&self.0, look, false, Style::Unicode)
    }

    fn name(edge: &EdgeRecord) -> String {
        edge_name(edge)
    }
}

fn sorted() -> EdgeList {
    let mut list = list();
    sort_edges(&mut list.items);
    list
}

#[test]
fn edges_tables() {
    let text = |look, all, style| edges(&sorted(), look, all, style).text(true, Screen::default());
    assert_snapshot!("edges", text(Look::Short, false, Style::Unicode));
    assert_snapshot!("edges_all", text(Look::Short, true, Style::Unicode));
    assert_snapshot!("edges_ascii", text(Look::Short, false, Style::Ascii));
    assert_snapshot!("edges_wide", text(Look::Wide, false, Style::Unicode));
    assert_snapshot!("edges_linkerd", text(Look::Linkerd, false, Style::Unicode));
    let narrow = Screen {
        width: Some(80),
        color: false,
    };
    let sheet = edges(&sorted(), Look::Short, false, Style::Unicode);
    assert_snapshot!("edges_80", sheet.text(true, narrow));
    let none = EdgeList {
        items: Vec::new(),
        ..list()
    };
    let sheet = edges(&none, Look::Short, false, Style::Unicode);
    assert_snapshot!("edges_none", sheet.text(true, Screen::default()));
}

#[test]
fn edges_formats() {
    let write = |format: &str, sort_by| {
        let format = format.parse().unwrap();
        let (headers, screen) = (true, Screen::default());
        super::list(Edges(sorted()), &format, headers, sort_by, screen).unwrap()
    };
    assert_snapshot!("edges_csv", write("csv", None));
    assert_snapshot!("edges_name", write("name", None));
    assert_snapshot!(
        "edges_yaml",
        write("yaml", None)
            .lines()
            .take(40)
            .collect::<Vec<_>>()
            .join("\n")
    );
    let columns = "custom-columns=FROM:.src.name,PORT:.dst.port,SA:.src.service_account";
    assert_snapshot!("edges_columns", write(columns, Some("-.dst.port")));
    let template = "jsonpath={range .items[*]}{.src.name} {.verdict}{\"\\n\"}{end}";
    assert_snapshot!("edges_jsonpath", write(template, None));
    let json = write("json", None);
    assert_eq!(serde_json::from_str::<EdgeList>(&json).unwrap(), sorted());
    assert_eq!(write("jsonl", None).lines().count(), list().items.len());
}

#[test]
fn flows_tables_and_lines() {
    let all = [mutual(), hostile(), datagrams()];
    let text = |look| classified(&all, look).text(true, Screen::default());
    assert_snapshot!("flows", text(Look::Short));
    assert_snapshot!("flows_wide", text(Look::Wide));
    assert_snapshot!("logfmt", all.each_ref().map(flow_line).join("\n"));
    let lines = all
        .each_ref()
        .map(|flow| tap_line(flow, Style::Unicode, Screen::default()));
    assert_snapshot!(
        "tap",
        [tap_header(Screen::default()), lines.join("\n")].join("\n")
    );
    let list = FlowList {
        schema: SCHEMA,
        node: Some("node-1".into()),
        generated: at(0),
        window_seconds: 600,
        nodes: None,
        watched: Some(Watched::default()),
        history: Some(History {
            capacity: 3,
            forgotten: 7,
            since: Some(at(20)),
        }),
        items: all.to_vec(),
    };
    let text = |look| super::flows(&list, look, Style::Unicode).text(true, Screen::default());
    assert_snapshot!("flow_rows", text(Look::Short));
    assert_snapshot!("flow_rows_wide", text(Look::Wide));
}

#[test]
fn status_and_doctor_tables() {
    assert_snapshot!("status", status(&status_of_a_node()));
    assert_snapshot!("doctor", doctor(&checks(), Screen::default()));
}

#[test]
fn json_documents() {
    assert_snapshot!("json_edges", json(&list()));
    let list = List::new(None, at(0), vec![mutual(), hostile(), datagrams()]);
    assert_snapshot!("json_flows", json(&list));
    let missed = TapLine::missed(Some("node-1".into()), 9);
    assert_snapshot!("json_missed", json(&missed));
    assert_snapshot!("json_status", json(&status_of_a_node()));
    let list = List::new(Some("node-1".into()), at(0), checks());
    assert_snapshot!("json_doctor", json(&list));
}

/// What stands for nothing is null, in every document.
#[test]
fn no_string_is_empty() {
    fn look(value: &serde_json::Value, at: &str) {
        match value {
            serde_json::Value::String(text) => assert!(!text.is_empty(), "{at}"),
            serde_json::Value::Array(all) => all.iter().for_each(|one| look(one, at)),
            serde_json::Value::Object(all) => {
                all.iter()
                    .for_each(|(key, one)| look(one, &format!("{at}.{key}")));
            }
            _ => {}
        }
    }
    look(&serde_json::to_value(list()).unwrap(), "edges");
    look(
        &serde_json::to_value([mutual(), hostile(), datagrams()]).unwrap(),
        "flows",
    );
    look(&serde_json::to_value(status_of_a_node()).unwrap(), "status");
}
