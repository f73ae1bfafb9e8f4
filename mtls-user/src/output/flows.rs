//! Lines of `mtls tap` and the table of `mtls classify`.

use std::fmt::Write as _;

use smol_str::SmolStr;

use super::sheet::Sheet;
use super::text::value;
use super::{Look, safe};
use mtls_core::record::{FlowRecord, Kind, Outcome, Peer, Transport, Verdict, Word};

/// One line for one flow, in the manner of `linkerd viz tap`: fields of logfmt, so that nothing that
/// came over the wire can look like another field.
pub(crate) fn flow_line(flow: &FlowRecord) -> String {
    let (src, dst) = (address(&flow.src), service(flow));
    let mut line = format!("flow time={} src={src} dst={dst}", flow.last_seen);
    // Writing to a String cannot fail.
    let mut field = |key: &str, text: &str| {
        let _ = write!(line, " {key}={}", value(text));
    };
    for (key, peer) in [("src_res", &flow.src), ("dst_res", &flow.dst)] {
        if let Some(name) = resource(peer) {
            field(key, &name);
        }
    }
    field("tls", tls(flow));
    field("verdict", flow.verdict.as_str());
    if let Some(evidence) = &flow.evidence {
        field("evidence", evidence.as_str());
    }
    if let Some(exempt) = &flow.exempt {
        field("exempt", exempt.class.as_str());
    }
    field("protocol", &flow.protocol);
    if let Some(tls) = &flow.tls {
        for (key, text) in [
            ("version", &tls.version),
            ("cipher", &tls.cipher),
            ("sni", &tls.sni),
            ("alpn", &tls.alpn),
            ("client_id", &tls.client_identity),
            ("server_id", &tls.server_identity),
            ("mesh", &tls.mesh),
            ("alert", &tls.alert),
        ] {
            if let Some(text) = text {
                field(key, text);
            }
        }
    }
    if let Some(http) = &flow.http {
        for (key, text) in [
            (":method", &http.method),
            (":authority", &http.authority),
            (":path", &http.path),
        ] {
            if let Some(text) = text {
                field(key, text);
            }
        }
        if let Some(status) = http.status {
            field(":status", &status.to_string());
        }
    }
    field("reason", &flow.reason);
    if let Some(expectation) = &flow.expectation
        && expectation.outcome != Outcome::NothingExpected
    {
        field("expected", expectation.outcome.as_str());
        if let Some(reason) = &expectation.reason {
            field("expected_reason", reason);
        }
    }
    for mismatch in &flow.mismatches {
        field("note", &mismatch.to_string());
    }
    for note in &flow.notes {
        field("note", note);
    }
    line
}

/// Linkerd's words where they fit: `true` is mutual TLS, `no_tls_from_remote` is plaintext.
fn tls(flow: &FlowRecord) -> &'static str {
    match flow.verdict.known() {
        Some(Verdict::Mtls) => "true",
        Some(Verdict::Plaintext) => "no_tls_from_remote",
        Some(Verdict::Tls) => "server-only",
        Some(Verdict::TlsUnproven) => "client-unknown",
        _ => "unknown",
    }
}

/// The flows of a capture as a table.
pub(crate) fn classified(flows: &[FlowRecord], look: Look) -> Sheet {
    let wide = look == Look::Wide;
    let files = flows.iter().any(|flow| flow.file.is_some());
    let mut header = Vec::new();
    if files {
        header.push("FILE");
    }
    header.extend(["SRC", "DST", "VERDICT", "EVIDENCE", "PROTOCOL", "DETAIL"]);
    if wide {
        header.extend(["CLIENT_CERT", "CLIENT_ID", "SERVER_ID", "REASON", "NOTES"]);
    }
    let mut sheet = Sheet::new(header);
    if flows.is_empty() {
        sheet.below = "no TCP and no UDP flows\n".into();
    }
    for flow in flows {
        let mut cells = Vec::new();
        if files {
            cells.push(safe(flow.file.as_deref().unwrap_or_default()).into_owned());
        }
        cells.extend([
            address(&flow.src),
            service(flow),
            safe(flow.verdict.as_str()).into_owned(),
            text(flow.evidence.as_ref().map(Word::as_str)),
            safe(&flow.protocol).into_owned(),
            detail(flow),
        ]);
        if wide {
            let tls = flow.tls.as_ref();
            let certificate = tls.map(|tls| safe(tls.client_certificate.as_str()).into_owned());
            cells.extend([
                certificate.unwrap_or_else(|| "-".into()),
                text(tls.and_then(|tls| tls.client_identity.as_deref())),
                text(tls.and_then(|tls| tls.server_identity.as_deref())),
                safe(&flow.reason).into_owned(),
                flow.notes
                    .iter()
                    .map(|note| safe(note))
                    .collect::<Vec<_>>()
                    .join("; "),
            ]);
        }
        sheet.row(cells, None);
    }
    sheet
}

/// What names the flow best.
fn detail(flow: &FlowRecord) -> String {
    let mut words = Vec::new();
    if let Some(tls) = &flow.tls {
        words.extend(tls.version.iter().map(SmolStr::as_str));
        words.extend(tls.sni.iter().map(SmolStr::as_str));
        words.extend(tls.alert.iter().map(SmolStr::as_str));
    }
    if let Some(http) = &flow.http {
        words.extend(http.method.iter().map(SmolStr::as_str));
        words.extend(http.authority.iter().map(SmolStr::as_str));
        words.extend(http.path.iter().map(SmolStr::as_str));
    }
    if words.is_empty() {
        "-".into()
    } else {
        safe(&words.join(" ")).into_owned()
    }
}

pub(super) fn text(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| safe(text).into_owned())
}

pub(super) fn address(peer: &Peer) -> String {
    match (peer.ip, peer.port) {
        (Some(ip), Some(port)) => std::net::SocketAddr::new(ip, port).to_string(),
        (Some(ip), None) => ip.to_string(),
        _ => "-".into(),
    }
}

/// The server, with what carries the flow beside the port where that is not TCP.
pub(super) fn service(flow: &FlowRecord) -> String {
    let address = address(&flow.dst);
    if flow.transport == Transport::Tcp {
        address
    } else {
        format!("{address}/{}", safe(flow.transport.as_str()))
    }
}

/// `namespace/name`, `node/name`, where the daemon knows it.
fn resource(peer: &Peer) -> Option<String> {
    let workload = peer.workload.as_ref()?;
    let name = &workload.name;
    Some(match peer.namespace() {
        Some(namespace) => format!("{namespace}/{name}"),
        None if peer.kind() == Some(Kind::Node) => format!("node/{name}"),
        None => name.to_string(),
    })
}

/// The connection's identity, or its ends where that is not known.
pub(crate) fn flow_name(flow: &FlowRecord) -> String {
    match &flow.id {
        Some(id) => safe(id).into_owned(),
        None => format!("{} {}", address(&flow.src), service(flow)),
    }
}
