//! Why an edge is what it is: the evidence of its worst connection step by step, what was not seen,
//! what would change it, and what to do.

mod advice;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use mtls_core::record::{
    EdgeRecord, Explanation, FlowRecord, Mark, Origin, Outcome, Peer, Time, TlsInfo, Vocabulary,
    Word, severity,
};

use crate::output::{ago, at_port, count, end_path, safe_long, verdict as verdict_in_words};

/// Explains an edge by those connections of a list that are of it.
pub(crate) fn edge_among(edge: EdgeRecord, flows: &[FlowRecord], generated: Time) -> Explanation {
    let same = |a: &Peer, b: &Peer| {
        (a.namespace(), a.name(), a.kind()) == (b.namespace(), b.name(), b.kind())
    };
    let is_of = |flow: &&FlowRecord| {
        edge.dst.port == flow.dst.port
            && edge.transport == flow.transport
            && same(&edge.src, &flow.src)
            && same(&edge.dst, &flow.dst)
    };
    let own: Vec<_> = flows.iter().filter(is_of).cloned().collect();
    self::edge(edge, &own, generated)
}

/// Explains an edge by the connections of it that are remembered.
pub(crate) fn edge(edge: EdgeRecord, flows: &[FlowRecord], generated: Time) -> Explanation {
    // An edge without a verdict has exempt connections only.
    let worst = flows
        .iter()
        .filter(|flow| match &edge.verdict {
            Some(verdict) => flow.exempt.is_none() && flow.verdict == *verdict,
            None => flow.exempt.is_some(),
        })
        .min_by_key(|flow| {
            (
                flow.mark(),
                severity(&flow.verdict),
                std::cmp::Reverse(flow.last_seen),
            )
        });
    let mut explained = match worst {
        Some(worst) => flow(worst.clone(), generated),
        None => Explanation {
            generated,
            evidence: edge
                .reason
                .iter()
                .map(|reason| format!("the latest connection: {reason}"))
                .collect(),
            not_seen: vec![
                "the single connections: the source has none of this edge (mtls flows)".into(),
            ],
            ..Explanation::default()
        },
    };
    explained.verdict.clone_from(&edge.verdict);
    explained.summary = summary(&edge, generated);
    let seen = edge.coverage;
    if seen.partial + seen.unobserved > 0 {
        explained.not_seen.push(format!(
            "{} of {} not seen completely, {} of them not at all",
            seen.partial + seen.unobserved,
            count(edge.connections, "connection"),
            seen.unobserved
        ));
    }
    explained.edge = Some(edge);
    explained
}

/// `shop/pod/web to data/pod/pg:5432: plaintext, 8 of 9 connections, last seen 3s ago`.
fn summary(edge: &EdgeRecord, generated: Time) -> String {
    let mut text = format!("{} to {}: ", end_path(&edge.src), server(&edge.dst));
    // Writing to a String cannot fail.
    match &edge.verdict {
        None => text.push_str("all connections are exempt"),
        Some(verdict) => {
            let n = edge
                .verdict_counts
                .get(verdict)
                .copied()
                .unwrap_or_default();
            let total: u64 = edge.verdict_counts.values().sum();
            let words = verdict_in_words(verdict);
            let _ = write!(text, "{words}, {n} of {}", count(total, "connection"));
        }
    }
    let _ = write!(
        text,
        ", last seen {} ago",
        ago(edge.last_seen, generated.as_nanos())
    );
    if edge.mark == Some(Mark::Unknown.into()) {
        text.push_str("; not everything could be determined");
    }
    text
}

fn server(peer: &Peer) -> String {
    let port = peer.port.map(|port| port.to_string());
    port.map_or_else(|| end_path(peer), |port| at_port(peer, &port))
}

/// Explains one connection.
pub(crate) fn flow(flow: FlowRecord, generated: Time) -> Explanation {
    Explanation {
        generated,
        verdict: Some(flow.verdict.clone()),
        summary: format!(
            "{} to {}: {}, last seen {} ago",
            end_path(&flow.src),
            server(&flow.dst),
            verdict_in_words(&flow.verdict),
            ago(flow.last_seen, generated.as_nanos())
        ),
        evidence: evidence(&flow),
        not_seen: not_seen(&flow),
        would_change: advice::would_change(&flow),
        next: advice::next(&flow),
        edge: None,
        flow: Some(Box::new(flow)),
        ..Explanation::default()
    }
}

/// A word's meaning without its full stop; the word itself where this version does not know it.
fn meaning<T: Vocabulary>(word: &Word<T>) -> String {
    let known = word.known().map(Vocabulary::meaning);
    known.map_or_else(
        || format!("`{word}`, a word of a later version"),
        |meaning| meaning.trim_end_matches('.').to_owned(),
    )
}

/// A sentence as it continues another: with a small first letter, unless its first word is a name.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => sentence.to_owned(),
    }
}

fn evidence(flow: &FlowRecord) -> Vec<String> {
    let mut steps = vec![match flow.origin.known() {
        Some(Origin::Syn) => "the connection was seen from its start".to_owned(),
        _ => "the connection began before it was observed".to_owned(),
    }];
    if let Some(tls) = &flow.tls {
        steps.extend(handshake(tls));
    }
    if let Some(http) = &flow.http {
        let said = [&http.method, &http.authority, &http.path].map(|text| text.as_deref());
        let said: Vec<_> = said.into_iter().flatten().collect();
        steps.push(format!(
            "the first request, in plaintext: {}",
            said.join(" ")
        ));
    }
    if let Some(evidence) = &flow.evidence {
        steps.push(format!(
            "evidence: {} ({evidence})",
            lower(&meaning(evidence))
        ));
    }
    steps.push(format!(
        "verdict: {} ({})",
        lower(&meaning(&flow.verdict)),
        flow.verdict
    ));
    steps.push(format!("reason: {} ({})", flow.reason, flow.cause));
    if let Some(exempt) = &flow.exempt {
        steps.push(format!(
            "exempt: {} ({})",
            lower(&meaning(&exempt.class)),
            exempt.class
        ));
    }
    if let Some(expectation) = &flow.expectation
        && expectation.outcome != Outcome::NothingExpected
    {
        let reason = expectation
            .reason
            .as_deref()
            .unwrap_or("no reason is known");
        let expected = expectation
            .expected
            .as_ref()
            .map_or("nothing", |word| word.as_str());
        let outcome = &expectation.outcome;
        steps.push(format!(
            "expected: {expected}; the outcome is {outcome} ({reason})"
        ));
    }
    steps.extend(flow.mismatches.iter().map(ToString::to_string));
    steps.extend(flow.notes.iter().cloned());
    steps
}

fn handshake(tls: &TlsInfo) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(name) = &tls.sni {
        let outer = if tls.ech {
            " (the outer name of an encrypted ClientHello)"
        } else {
            ""
        };
        steps.push(format!(
            "the client asked for the server name {name}{outer}"
        ));
    }
    if let Some(version) = &tls.version {
        let chosen = [Some(version), tls.cipher.as_ref(), tls.group.as_ref()];
        let chosen: Vec<_> = chosen
            .into_iter()
            .flatten()
            .map(smol_str::SmolStr::as_str)
            .collect();
        steps.push(format!("the server chose TLS {}", chosen.join(", ")));
    }
    if tls.resumed == Some(true) {
        steps.push("the session resumes an earlier one".to_owned());
    }
    let certificate = &tls.client_certificate;
    steps.push(format!(
        "client certificate: {}",
        lower(&meaning(certificate))
    ));
    for (whose, certificate) in [("client", &tls.client_cert), ("server", &tls.server_cert)] {
        if let Some(certificate) = certificate {
            steps.push(format!(
                "the {whose}'s certificate was seen: {}, {}, valid until {}",
                certificate
                    .spiffe_id
                    .as_deref()
                    .unwrap_or(&certificate.subject),
                certificate.key,
                &certificate.not_after.to_string()[..10]
            ));
        }
    }
    if let Some(mesh) = &tls.mesh {
        steps.push(format!("the handshake has the marks of {mesh}"));
    }
    if let Some(alert) = &tls.alert {
        steps.push(format!("an alert ended the handshake: {alert}"));
    }
    steps
}

fn not_seen(flow: &FlowRecord) -> Vec<String> {
    let mut missing: Vec<_> = flow.unseen.iter().map(meaning).collect();
    if flow.lost {
        missing.push("samples of it were lost, or may have been lost".into());
    }
    let tls = flow.tls.as_deref();
    if tls.is_some_and(|tls| tls.post_handshake_auth && tls.client_cert.is_none()) {
        missing.push(
            "whether the client authenticated after the handshake: TLS 1.3 allows it, and encrypts it"
                .into(),
        );
    }
    if tls.is_some_and(|tls| tls.version.as_deref() == Some("1.3")) {
        missing.push("the certificates: TLS 1.3 encrypts them".into());
    }
    missing
}

/// The explanation as text.
pub(crate) fn text(explained: &Explanation) -> String {
    let mut out = format!("{}\n", safe_long(&explained.summary));
    for (title, lines) in [
        ("evidence", &explained.evidence),
        ("not seen", &explained.not_seen),
        ("what would change the verdict", &explained.would_change),
        ("what to do next", &explained.next),
    ] {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{title}:");
        for (at, line) in lines.iter().enumerate() {
            let _ = writeln!(out, "  {}. {}", at + 1, safe_long(line));
        }
    }
    out
}
