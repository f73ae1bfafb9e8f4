//! Lines of `mtls tap` and the table of `mtls classify`.

use std::fmt::Write as _;

use smol_str::SmolStr;

use super::{safe, table};
use mtls_core::record::{ClientCertificate, FlowRecord, Peer, Transport, Verdict};

/// One line for one flow, in the manner of `linkerd viz tap`.
pub(crate) fn flow_line(flow: &FlowRecord) -> String {
    let mut line = format!("flow src={} dst={}", address(&flow.src), service(flow));
    // Writing to a String cannot fail.
    for (key, peer) in [("src_res", &flow.src), ("dst_res", &flow.dst)] {
        if let Some(name) = resource(peer) {
            let _ = write!(line, " {key}={name}");
        }
    }
    let _ = write!(line, " tls={} verdict={}", tls(flow), flow.verdict);
    if let Some(evidence) = flow.evidence {
        let _ = write!(line, " evidence={evidence}");
    }
    let _ = write!(line, " protocol={}", safe(&flow.protocol));
    if let Some(tls) = &flow.tls {
        let fields = [
            ("version", &tls.version),
            ("cipher", &tls.cipher),
            ("sni", &tls.sni),
            ("alpn", &tls.alpn),
            ("client_id", &tls.client_identity),
            ("server_id", &tls.server_identity),
            ("mesh", &tls.mesh),
            ("alert", &tls.alert),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                let _ = write!(line, " {key}={}", safe(value));
            }
        }
    }
    if let Some(http) = &flow.http {
        let fields = [
            (":method", &http.method),
            (":authority", &http.authority),
            (":path", &http.path),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                let _ = write!(line, " {key}={}", safe(value));
            }
        }
        if let Some(status) = http.status {
            let _ = write!(line, " :status={status}");
        }
    }
    let _ = write!(line, " reason={:?}", safe(&flow.reason));
    for note in &flow.notes {
        let _ = write!(line, " note={:?}", safe(note));
    }
    line
}

/// Linkerd's words where they fit: `true` is mutual TLS, `no_tls_from_remote` is plaintext, and
/// TLS that is not the mesh's passes through.
fn tls(flow: &FlowRecord) -> &'static str {
    match flow.verdict {
        Verdict::Mtls => "true",
        Verdict::Plaintext => "no_tls_from_remote",
        Verdict::Tls | Verdict::TlsUnproven => "passthru",
        Verdict::Opaque | Verdict::Unobserved | Verdict::Failed | Verdict::NoData => "unknown",
    }
}

/// The flows of a capture as a table.
pub(crate) fn flows(flows: &[FlowRecord], wide: bool) -> String {
    if flows.is_empty() {
        return "no TCP and no UDP flows\n".into();
    }
    let files = flows.iter().any(|flow| flow.file.is_some());
    let mut header = Vec::new();
    if files {
        header.push("FILE");
    }
    header.extend(["SRC", "DST", "VERDICT", "EVIDENCE", "PROTOCOL", "DETAIL"]);
    if wide {
        header.extend(["CLIENT_CERT", "CLIENT_ID", "SERVER_ID", "REASON", "NOTES"]);
    }
    let mut out = table(&header);
    for flow in flows {
        let mut cells = Vec::new();
        if files {
            cells.push(safe(flow.file.as_deref().unwrap_or_default()).into_owned());
        }
        cells.extend([
            address(&flow.src),
            service(flow),
            flow.verdict.to_string(),
            flow.evidence.map_or("-".into(), |e| e.to_string()),
            safe(&flow.protocol).into_owned(),
            detail(flow),
        ]);
        if wide {
            let tls = flow.tls.as_ref();
            let certificate = tls.map(|tls| match tls.client_certificate {
                ClientCertificate::Unknown => "unknown",
                ClientCertificate::NotRequested => "not-requested",
                ClientCertificate::NotPresented => "not-presented",
                ClientCertificate::Presented => "presented",
                ClientCertificate::Refused => "refused",
            });
            cells.extend([
                certificate.unwrap_or("-").into(),
                text(tls.and_then(|tls| tls.client_identity.as_ref())),
                text(tls.and_then(|tls| tls.server_identity.as_ref())),
                safe(&flow.reason).into_owned(),
                safe(&flow.notes.join("; ")).into_owned(),
            ]);
        }
        out.add_row(cells);
    }
    format!("{}\n", out.trim_fmt())
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

fn text(value: Option<&SmolStr>) -> String {
    value.map_or("-".into(), |value| safe(value).into_owned())
}

fn address(peer: &Peer) -> String {
    std::net::SocketAddr::new(peer.ip, peer.port).to_string()
}

/// The server, with what carries the flow beside the port where that is not TCP.
fn service(flow: &FlowRecord) -> String {
    let address = address(&flow.dst);
    match flow.transport {
        Transport::Tcp => address,
        Transport::Udp => format!("{address}/udp"),
    }
}

/// `namespace/name`, where the daemon knows it.
fn resource(peer: &Peer) -> Option<String> {
    let workload = peer.workload.as_ref()?;
    let name = safe(&workload.name);
    Some(if workload.namespace.is_empty() {
        name.into_owned()
    } else {
        format!("{}/{name}", safe(&workload.namespace))
    })
}
