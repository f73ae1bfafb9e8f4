//! Checks that `docs/schema.json` matches the record types. `MTLS_DOCS=write` (`cargo xtask docs`)
//! regenerates it.

use mtls_core::record::{
    CaptureList, CertificateList, CertificateSeen, Check, EdgeChange, EdgeList, EdgeRecord,
    Explanation, FlowList, FlowRecord, GateReport, Inventory, InventoryItem, List, SCHEMA, Status,
    TapLine,
};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema.json");

/// The schema of every document and line that the program writes as JSON.
fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let documents = [
        (
            "mtls classify -o json",
            generator.subschema_for::<CaptureList>(),
        ),
        (
            "a line of mtls classify -o jsonl",
            generator.subschema_for::<FlowRecord>(),
        ),
        (
            "a line of mtls tap -o jsonl",
            generator.subschema_for::<TapLine>(),
        ),
        ("mtls edges -o json", generator.subschema_for::<EdgeList>()),
        (
            "a line of mtls edges -o jsonl",
            generator.subschema_for::<EdgeRecord>(),
        ),
        ("mtls flows -o json", generator.subschema_for::<FlowList>()),
        (
            "mtls explain -o json",
            generator.subschema_for::<List<Explanation>>(),
        ),
        (
            "mtls diff -o json, mtls edges --baseline FILE -o json",
            generator.subschema_for::<List<EdgeChange>>(),
        ),
        (
            "mtls check -o json",
            generator.subschema_for::<GateReport>(),
        ),
        (
            "mtls inventory -o json",
            generator.subschema_for::<Inventory>(),
        ),
        (
            "a line of mtls inventory -o jsonl",
            generator.subschema_for::<InventoryItem>(),
        ),
        (
            "mtls inventory --certificates -o json",
            generator.subschema_for::<CertificateList>(),
        ),
        (
            "a line of mtls inventory --certificates -o jsonl",
            generator.subschema_for::<CertificateSeen>(),
        ),
        ("mtls status -o json", generator.subschema_for::<Status>()),
        (
            "mtls doctor -o json",
            generator.subschema_for::<List<Check>>(),
        ),
        (
            "a line of mtls doctor -o jsonl",
            generator.subschema_for::<Check>(),
        ),
    ];
    let documents = documents.map(|(of, schema)| {
        let mut schema = schema.to_value();
        schema["description"] = of.into();
        schema
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("What mtls writes as JSON, schema {SCHEMA}"),
        "anyOf": documents,
        "$defs": generator.take_definitions(true),
    })
}

#[test]
fn the_schema_that_is_shipped_is_that_of_the_types() {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap();
    text.push('\n');
    if std::env::var_os("MTLS_DOCS").is_some_and(|value| value == "write") {
        std::fs::write(FILE, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        shipped == text,
        "docs/schema.json is not that of the types: run `cargo xtask docs`"
    );
}

/// Every field has a description, and every serialised field is in the schema.
#[test]
fn every_field_is_explained_and_promised() {
    let schema = schema();
    let mut fields = 0;
    for (name, of) in schema["$defs"].as_object().unwrap() {
        let Some(properties) = of["properties"].as_object() else {
            continue;
        };
        let required = of["required"].as_array().unwrap();
        for (field, is) in properties {
            fields += 1;
            let explained = is["description"].is_string() || is["$ref"].is_string();
            assert!(explained, "{name}.{field} has no description: {is}");
            assert!(
                required.contains(&json!(field)),
                "{name}.{field} may be missing"
            );
        }
    }
    assert!(fields > 150, "{fields}");
}

/// The output has exactly the fields of the schema.
#[test]
fn a_record_has_the_fields_of_its_schema() {
    let schema = schema();
    for (name, written) in [
        ("FlowRecord", serde_json::to_value(FlowRecord::default())),
        ("EdgeRecord", serde_json::to_value(EdgeRecord::default())),
        ("Status", serde_json::to_value(Status::default())),
        ("Inventory", serde_json::to_value(Inventory::default())),
        (
            "InventoryItem",
            serde_json::to_value(InventoryItem::default()),
        ),
    ] {
        let written = written.unwrap();
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        let promised = keys(&schema["$defs"][name]["properties"]);
        assert_eq!(keys(&written), promised, "{name}");
        let null = |value: &Value| value.as_str() == Some("");
        if name != "Status" {
            let empty: Vec<_> = written
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, v)| null(v))
                .collect();
            // A real flow always has a reason; the default value is not a real flow.
            assert!(empty.iter().all(|(key, _)| *key == "reason"), "{empty:?}");
        }
    }
}
