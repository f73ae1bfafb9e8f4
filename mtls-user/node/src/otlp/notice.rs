//! A record in OpenTelemetry's form: attributes follow its semantic conventions where these exist.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1;
use serde_json::{Map, json};
use smol_str::{SmolStr, format_smolstr};

use mtls_core::escape::escape;
use mtls_core::record::{
    CertificateInfo, EdgeRecord, Expectation, FlowRecord, Mark, Peer, Time, TlsInfo, Vocabulary,
    Word,
};

/// Longest text of one attribute, in bytes.
const MAX: usize = 1_024;

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
enum Value {
    Text(SmolStr),
    Number(i64),
}

/// A record.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// Nanoseconds since the Unix epoch.
    time: u64,
    /// What happened.
    pub(super) event: &'static str,
    severity: SeverityNumber,
    attributes: Vec<(SmolStr, Value)>,
}

/// The reporting daemon.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The node.
    pub node: SmolStr,
    /// The cluster's name, if it has one.
    pub cluster: Option<SmolStr>,
}

impl Resource {
    fn attributes(&self) -> Vec<(SmolStr, Value)> {
        let mut list = List::default();
        list.text("service.name", "mtls");
        list.text("service.version", env!("CARGO_PKG_VERSION"));
        list.text("service.instance.id", &self.node);
        list.text("host.name", &self.node);
        list.text("k8s.node.name", &self.node);
        list.some("k8s.cluster.name", self.cluster.as_deref());
        list.0
    }

    pub(super) fn message(&self) -> v1::Resource {
        v1::Resource {
            attributes: key_values(&self.attributes()),
            ..v1::Resource::default()
        }
    }
}

#[derive(Default)]
struct List(Vec<(SmolStr, Value)>);

impl List {
    fn text(&mut self, key: impl Into<SmolStr>, text: &str) {
        let value = Value::Text(escape(text, MAX).into());
        self.0.push((key.into(), value));
    }

    fn some(&mut self, key: impl Into<SmolStr>, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.text(key, text);
        }
    }

    fn word<T: Vocabulary>(&mut self, key: &'static str, word: Option<&Word<T>>) {
        self.some(key, word.map(Word::as_str));
    }

    fn number(&mut self, key: impl Into<SmolStr>, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.0.push((key.into(), Value::Number(number)));
    }

    fn peer(&mut self, side: &str, peer: &Peer) {
        let address = peer.ip.map(|ip| format_smolstr!("{ip}"));
        self.some(format_smolstr!("{side}.address"), address.as_deref());
        if let Some(port) = peer.port {
            self.number(format_smolstr!("{side}.port"), port.into());
        }
        let Some(who) = &peer.workload else { return };
        for (key, text) in [
            ("namespace.name", Some(who.namespace.as_str())),
            ("workload.name", Some(who.name.as_str())),
            ("workload.kind", Some(who.kind.as_str())),
            ("pod.name", who.pod.as_deref()),
            ("serviceaccount.name", who.service_account.as_deref()),
        ] {
            self.some(format_smolstr!("{side}.k8s.{key}"), text);
        }
    }

    fn expectation(&mut self, expectation: Option<&Expectation>) {
        let Some(one) = expectation else { return };
        self.word("mtls.expected", one.expected.as_ref());
        self.word("mtls.outcome", Some(&one.outcome));
        self.some("mtls.expectation.reason", one.reason.as_deref());
    }

    fn tls(&mut self, tls: &TlsInfo) {
        self.text("tls.protocol.name", "tls");
        self.some("tls.protocol.version", tls.version.as_deref());
        self.some("tls.cipher", tls.cipher.as_deref());
        self.some("tls.curve", tls.group.as_deref());
        self.some("tls.next_protocol", tls.alpn.as_deref());
        self.some("server.address", tls.sni.as_deref());
        self.some("mtls.client.identity", tls.client_identity.as_deref());
        self.some("mtls.server.identity", tls.server_identity.as_deref());
        self.certificate("client", tls.client_cert.as_deref());
        self.certificate("server", tls.server_cert.as_deref());
    }

    fn certificate(&mut self, side: &str, certificate: Option<&CertificateInfo>) {
        let Some(shown) = certificate else { return };
        let mut put = |key: &str, text: &str| {
            self.some(format_smolstr!("tls.{side}.{key}"), Some(text));
        };
        put("subject", &shown.subject);
        put("issuer", &shown.issuer);
        put("not_before", &shown.not_before.to_string());
        put("not_after", &shown.not_after.to_string());
    }
}

fn severity(mark: Option<Mark>) -> SeverityNumber {
    match mark {
        Some(Mark::Clear) => SeverityNumber::Warn,
        _ => SeverityNumber::Info,
    }
}

impl Notice {
    /// Something that happened to a flow, which has wall-clock times.
    pub(super) fn of_flow(event: &'static str, flow: &FlowRecord) -> Self {
        let mut list = List::default();
        list.peer("source", &flow.src);
        list.peer("destination", &flow.dst);
        list.text("network.transport", flow.transport.as_str());
        list.some("network.protocol.name", Some(&flow.protocol));
        list.text("mtls.verdict", flow.verdict.as_str());
        list.some("mtls.mark", flow.mark().map(Mark::as_str));
        list.word("mtls.evidence", flow.evidence.as_ref());
        list.text("mtls.cause", flow.cause.as_str());
        list.some("mtls.reason", Some(&flow.reason));
        list.word("mtls.reporter", flow.reporter.as_ref());
        list.expectation(flow.expectation.as_ref());
        list.word("mtls.exempt", flow.exempt.as_ref().map(|it| &it.class));
        list.some("mtls.connection.id", flow.id.as_deref());
        if let Some(tls) = flow.tls.as_deref() {
            list.tls(tls);
        }
        if let Some(mismatch) = flow.mismatches.first() {
            list.text("mtls.mismatch", &mismatch.to_string());
        }
        let severity = match event {
            "mtls.edge.downgrade" | "mtls.identity.mismatch" => SeverityNumber::Error,
            _ => severity(flow.mark()),
        };
        Self {
            time: flow.last_seen.as_nanos(),
            event,
            severity,
            attributes: list.0,
        }
    }

    pub(super) fn with(mut self, key: &'static str, text: &str) -> Self {
        let value = Value::Text(text.into());
        self.attributes.push((key.into(), value));
        self
    }

    fn record(&self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.time,
            observed_time_unix_nano: self.time,
            severity_number: self.severity.into(),
            severity_text: severity_text(self.severity).into(),
            event_name: self.event.into(),
            body: Some(any(&Value::Text(self.event.into()))),
            attributes: key_values(&self.attributes),
            ..LogRecord::default()
        }
    }

    /// One line of JSON, with the reporting daemon.
    pub(super) fn line(&self, resource: &Resource) -> String {
        let mut object = Map::new();
        object.insert("time".into(), json!(Time::from_nanos(self.time)));
        object.insert("event".into(), self.event.into());
        object.insert("severity".into(), severity_text(self.severity).into());
        for (key, value) in resource.attributes().iter().chain(&self.attributes) {
            let value = match value {
                Value::Text(text) => json!(text),
                Value::Number(number) => json!(number),
            };
            object.insert(key.to_string(), value);
        }
        let line = serde_json::Value::Object(object).to_string();
        format!("{}\n", mtls_core::escape::json(&line))
    }
}

/// Summary of an edge over the window; with wall-clock times.
pub fn summary(edge: &EdgeRecord) -> Notice {
    let mut list = List::default();
    list.peer("source", &edge.src);
    list.peer("destination", &edge.dst);
    list.text("network.transport", edge.transport.as_str());
    list.word("mtls.verdict", edge.verdict.as_ref());
    list.word("mtls.mark", edge.mark.as_ref());
    list.word("mtls.cause", edge.cause.as_ref());
    list.some("mtls.reason", edge.reason.as_deref());
    list.word("mtls.reporter", edge.reporter.as_ref());
    list.expectation(edge.expectation.as_ref());
    list.number("mtls.connections", edge.connections);
    list.number("mtls.connections.open", edge.open_connections);
    for (verdict, n) in &edge.verdict_counts {
        list.number(format_smolstr!("mtls.connections.{verdict}"), *n);
    }
    for (class, n) in &edge.exempt_counts {
        list.number(format_smolstr!("mtls.connections.exempt.{class}"), *n);
    }
    if edge.mismatches > 0 {
        list.number("mtls.mismatches", edge.mismatches);
    }
    Notice {
        time: edge.last_seen.as_nanos(),
        event: "mtls.edge.summary",
        severity: severity(edge.mark.as_ref().and_then(Word::known)),
        attributes: list.0,
    }
}

/// The request for some records.
pub(super) fn request<'a>(
    notices: impl Iterator<Item = &'a Notice>,
    resource: &Resource,
) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource.message()),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records: notices.map(Notice::record).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "mtls".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

fn severity_text(severity: SeverityNumber) -> &'static str {
    match severity {
        SeverityNumber::Error => "ERROR",
        SeverityNumber::Warn => "WARN",
        _ => "INFO",
    }
}

fn any(value: &Value) -> AnyValue {
    AnyValue {
        value: Some(match value {
            Value::Text(text) => Any::StringValue(text.to_string()),
            Value::Number(number) => Any::IntValue(*number),
        }),
    }
}

fn key_values(attributes: &[(SmolStr, Value)]) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.to_string(),
            value: Some(any(value)),
            ..KeyValue::default()
        })
        .collect()
}
