//! Flows that do not count towards their edge: connections without data, refused ports, kubelet
//! probes, metrics scrapes, DNS, and what the operator has declared.

use super::Entry;
use super::declared::Declarations;
use mtls_core::record::{Cause, Exempt, Exemption, FlowRecord, Verdict};

/// User agents of metrics collectors.
const COLLECTORS: [&str; 3] = ["Prometheus", "vmagent", "Grafana"];
/// Longest greeting of a server: an SSH server sends its key exchange with it.
const GREETING: u64 = 4_096;
/// Longest time in nanoseconds that a probe of a greeting server takes: the kubelet closes at once.
const GREETED: u64 = 10_000_000_000;

/// Records whether the flow is exempt, and which of the operator's exemptions has expired.
///
/// `dns`: whether DNS is exempt.
pub(super) fn annotate(
    record: &mut FlowRecord,
    src: Option<&Entry>,
    declared: &Declarations,
    dns: bool,
) {
    let nature = by_nature(record, src);
    record.exempt = nature
        .filter(|nature| dns || *nature != Exempt::Dns)
        .map(Exemption::from);
    // Mutual TLS needs no exemption.
    if record.exempt.is_some() || record.verdict == Verdict::Mtls {
        return;
    }
    if let Some(declaration) = declared.find(record, record.last_seen) {
        record.exempt = Some(Exemption {
            class: Exempt::Declared.into(),
            reason: Some(declaration.reason.clone()),
            until: declaration.until,
        });
    } else if let Some(expired) = declared.find_expired(record, record.last_seen) {
        let until = expired.until.map(|until| until.to_string());
        let until = until.unwrap_or_default();
        record
            .notes
            .push(format!("{EXPIRED}{} (until {until})", expired.reason));
    }
}

/// The prefix of the note about an expired exemption.
pub(super) const EXPIRED: &str = "exemption-expired: ";

fn by_nature(record: &FlowRecord, src: Option<&Entry>) -> Option<Exempt> {
    let is_kubelet = src.is_some_and(Entry::is_this_node);
    // `tcpSocket`: the connection is opened and closed. The client has ended its stream without
    // sending anything.
    let is_left = is_kubelet && record.bytes.client == Some(0);
    match record.verdict.known()? {
        Verdict::NoData if record.cause == Cause::ConnectionRefused => Some(Exempt::Refused),
        Verdict::NoData if is_kubelet && record.closed => Some(Exempt::KubeletProbe),
        Verdict::NoData => Some(Exempt::NoData),
        // A TLS server sends an alert because no ClientHello came. While the connection is open, the
        // verdict does not say so yet.
        Verdict::Failed if is_left => Some(Exempt::KubeletProbe),
        Verdict::Unobserved if is_left && !record.closed => Some(Exempt::KubeletProbe),
        // Open, seen from its start, and without data so far.
        Verdict::Unobserved if record.cause == Cause::NoPayload && !record.closed => {
            Some(Exempt::NoData)
        }
        // Other servers greet every client.
        Verdict::Plaintext if is_left && is_greeting(record) => Some(Exempt::KubeletProbe),
        // `httpGet`. Anybody can claim to be the kubelet, and the node has other traffic.
        Verdict::Plaintext if is_kubelet && asked_by(record, &["kube-probe"]) => {
            Some(Exempt::KubeletProbe)
        }
        Verdict::Plaintext if is_scrape(record) => Some(Exempt::Scrape),
        Verdict::Plaintext if record.protocol == "dns" => Some(Exempt::Dns),
        _ => None,
    }
}

/// The server has sent no more than a greeting. How much it sent is unknown if the client reset the
/// connection, or while it is open: then the connection must have been short.
fn is_greeting(record: &FlowRecord) -> bool {
    let (first, last) = (record.first_seen.as_nanos(), record.last_seen.as_nanos());
    match record.bytes.server {
        Some(bytes) => bytes <= GREETING,
        None => last.saturating_sub(first) <= GREETED,
    }
}

fn asked_by(record: &FlowRecord, agents: &[&str]) -> bool {
    let agent = record
        .http
        .as_ref()
        .and_then(|http| http.user_agent.as_deref());
    let product = agent.and_then(|agent| agent.split('/').next());
    product.is_some_and(|product| agents.iter().any(|known| product.starts_with(known)))
}

/// A metrics collector's request for metrics.
fn is_scrape(record: &FlowRecord) -> bool {
    let Some(http) = &record.http else {
        return false;
    };
    let path = http.path.as_deref().unwrap_or_default();
    let is_metrics = path
        .split('/')
        .any(|part| matches!(part, "metrics" | "federate"));
    http.method.as_deref() == Some("GET") && is_metrics && asked_by(record, &COLLECTORS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::{Bytes, HttpInfo, Kind, Peer, Time, Workload};

    fn node() -> Entry {
        Entry {
            workload: Workload {
                name: "node-1".into(),
                kind: Kind::Node.into(),
                ..Workload::default()
            },
            ..Entry::default()
        }
    }

    fn class(mut record: FlowRecord, src: Option<&Entry>) -> Option<Exempt> {
        annotate(&mut record, src, &Declarations::default(), true);
        record.exempt.and_then(|exempt| exempt.class.known())
    }

    fn flow(verdict: Verdict) -> FlowRecord {
        FlowRecord {
            verdict: verdict.into(),
            closed: true,
            bytes: Bytes {
                client: Some(0),
                server: Some(7),
            },
            dst: Peer {
                port: Some(8443),
                ..Peer::default()
            },
            ..FlowRecord::default()
        }
    }

    fn asked(agent: &str, method: &str, path: &str) -> FlowRecord {
        FlowRecord {
            http: Some(HttpInfo {
                method: Some(method.into()),
                path: Some(path.into()),
                user_agent: Some(agent.into()),
                ..HttpInfo::default()
            }),
            ..flow(Verdict::Plaintext)
        }
    }

    #[test]
    fn probes_come_from_the_node() {
        let (node, other) = (node(), Entry::default());
        let probe = || asked("kube-probe/1.31", "GET", "/healthz");
        assert_eq!(class(probe(), Some(&node)), Some(Exempt::KubeletProbe));
        assert_eq!(class(probe(), Some(&other)), None, "anybody can say so");
        assert_eq!(class(probe(), None), None);
        // A probe of a TCP port, and of a TLS server that answers with an alert.
        for verdict in [Verdict::NoData, Verdict::Failed] {
            let probe = class(flow(verdict), Some(&node));
            assert_eq!(probe, Some(Exempt::KubeletProbe), "{verdict}");
        }
        assert_eq!(class(flow(Verdict::Failed), Some(&other)), None);
        let mut handshake = flow(Verdict::Failed);
        handshake.bytes.client = Some(517);
        assert_eq!(class(handshake, Some(&node)), None);
        // A server that greets every client.
        let mut greeted = flow(Verdict::Plaintext);
        assert_eq!(
            class(greeted.clone(), Some(&node)),
            Some(Exempt::KubeletProbe)
        );
        assert_eq!(class(greeted.clone(), Some(&other)), None);
        greeted.bytes.server = Some(GREETING + 1);
        assert_eq!(class(greeted.clone(), Some(&node)), None, "no greeting");
        greeted.bytes.server = None;
        let probe = class(greeted.clone(), Some(&node));
        assert_eq!(probe, Some(Exempt::KubeletProbe), "reset by the client");
        let mut stream = greeted.clone();
        stream.last_seen = Time::from_nanos(GREETED + 1);
        assert_eq!(class(stream, Some(&node)), None, "it goes on");
        greeted.bytes.client = None;
        assert_eq!(class(greeted, Some(&node)), None, "it may say something");
    }

    #[test]
    fn what_is_open_and_has_said_nothing_names_no_edge() {
        let node = node();
        let open = |cause: Cause, client| FlowRecord {
            closed: false,
            cause: cause.into(),
            bytes: Bytes {
                client,
                server: None,
            },
            ..flow(Verdict::Unobserved)
        };
        // The kubelet has closed, and the server's alert was answered by a RST.
        let left = open(Cause::NotDecided, Some(0));
        assert_eq!(class(left.clone(), Some(&node)), Some(Exempt::KubeletProbe));
        assert_eq!(class(left.clone(), None), None);
        let silent = open(Cause::NoPayload, None);
        assert_eq!(class(silent.clone(), None), Some(Exempt::NoData));
        // A connection that has ended, or was not seen from its start, may have carried anything.
        for (unknown, src) in [
            (
                FlowRecord {
                    closed: true,
                    ..left
                },
                Some(&node),
            ),
            (
                FlowRecord {
                    closed: true,
                    ..silent
                },
                None,
            ),
            (open(Cause::StartNotSeen, None), None),
        ] {
            assert_eq!(class(unknown, src), None);
        }
    }

    #[test]
    fn a_scrape_is_a_question_for_metrics() {
        let prometheus = |method, path| class(asked("Prometheus/3.1", method, path), None);
        assert_eq!(prometheus("GET", "/metrics"), Some(Exempt::Scrape));
        assert_eq!(prometheus("GET", "/metrics/cadvisor"), Some(Exempt::Scrape));
        assert_eq!(prometheus("POST", "/metrics"), None);
        assert_eq!(prometheus("GET", "/accounts"), None);
        assert_eq!(class(asked("curl/8", "GET", "/metrics"), None), None);
    }

    #[test]
    fn what_carried_nothing_is_a_class_of_its_own() {
        let mut refused = flow(Verdict::NoData);
        refused.cause = Cause::ConnectionRefused.into();
        assert_eq!(class(refused, None), Some(Exempt::Refused));
        assert_eq!(class(flow(Verdict::NoData), None), Some(Exempt::NoData));
        for verdict in [Verdict::Unobserved, Verdict::Opaque, Verdict::Plaintext] {
            assert_eq!(class(flow(verdict), None), None, "{verdict}");
        }
    }
}
