//! A real OpenTelemetry Collector, which outputs as JSON what it receives.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bin;
use crate::http::{receiver, until};
use crate::netns::Node;
use crate::process::Process;

/// Its address for OTLP over gRPC.
pub const GRPC: SocketAddr = local(4317);
/// Its address for OTLP over HTTP.
pub const HTTP: SocketAddr = local(4318);
const SINK: SocketAddr = local(4319);

const PATIENCE: Duration = Duration::from_secs(30);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The output of all Collectors that run on this node, one after another.
pub fn sink() -> Result<Receiver<Value>> {
    receiver(SINK)
}

/// Starts a Collector on this node.
pub fn start(node: &Node) -> Result<Process> {
    let config = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{GRPC}'}}, http: {{endpoint: '{HTTP}'}}}}}}}}\n\
        exporters: {{otlphttp: {{endpoint: 'http://{SINK}', encoding: json, compression: none, sending_queue: {{enabled: false}}}}}}\n\
        service:\n\
        \x20 telemetry: {{metrics: {{level: none}}}}\n\
        \x20 pipelines:\n\
        \x20   logs: {{receivers: [otlp], exporters: [otlphttp]}}\n\
        \x20   metrics: {{receivers: [otlp], exporters: [otlphttp]}}\n"
    );
    let path = node.files().join("collector.yml");
    std::fs::write(&path, config)?;
    let mut command = Command::new(bin::collector()?);
    command.arg("--config").arg(&path);
    let process = Process::start(command)?;
    let listens = || {
        std::net::TcpStream::connect(GRPC)?;
        std::net::TcpStream::connect(HTTP)?;
        Ok(Some(()))
    };
    until(PATIENCE, "the Collector listens", listens).with_context(|| process.told())?;
    Ok(process)
}

/// The records in the output, each with its attributes by name and its `event`.
pub fn records(posted: &Value) -> Vec<Value> {
    let each = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut out = Vec::new();
    for resource in each(posted, "resourceLogs") {
        for scope in each(&resource, "scopeLogs") {
            for record in each(&scope, "logRecords") {
                let mut flat = attributes(&resource["resource"]);
                flat.extend(attributes(&record));
                flat.insert("event".into(), record["eventName"].clone());
                flat.insert("severity".into(), record["severityText"].clone());
                out.push(Value::Object(flat));
            }
        }
    }
    out
}

/// Names of the metrics in the output.
pub fn metrics(posted: &Value) -> Vec<String> {
    let paths = posted.pointer("/resourceMetrics/0/scopeMetrics/0/metrics");
    let metrics = paths.and_then(Value::as_array).cloned().unwrap_or_default();
    let names = metrics.iter().filter_map(|metric| metric["name"].as_str());
    names.map(str::to_owned).collect()
}

fn attributes(value: &Value) -> serde_json::Map<String, Value> {
    let list = value["attributes"].as_array().cloned().unwrap_or_default();
    let pairs = list.iter().filter_map(|pair| {
        let value = pair["value"].as_object()?.values().next()?.clone();
        Some((pair["key"].as_str()?.to_owned(), value))
    });
    pairs.collect()
}
