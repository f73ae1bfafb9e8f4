//! Compares a flow between two pods with what was expected: identities that do not match the pod,
//! and plaintext where a mesh should be.

use std::cmp::Ordering;

use smol_str::{SmolStr, format_smolstr};

use super::Entry;
use super::identity::{self, Account};
use super::inbound::{By, Level, Rule};
use super::mesh::{Membership, Mesh};
use mtls_core::mesh::{self as known, Sidecar};
use mtls_core::record::{
    Cause, Exempt, Expectation, Expected, FlowRecord, Mismatch, Outcome, Side, Transport, Unmet,
    Verdict,
};

/// What is known about a pod's mesh.
fn sidecar(mesh: &Mesh) -> Option<&'static Sidecar> {
    known::Mesh::with_sidecars()
        .find(|(known, _)| known.name == mesh.name)
        .map(|(_, sidecar)| sidecar)
}

/// Records how `record`, between `src` and `dst`, differs from what is expected. The verdict and
/// reason of the classifier are unchanged.
pub fn annotate(record: &mut FlowRecord, src: Option<&Entry>, dst: Option<&Entry>) {
    let tls = record.tls.as_deref();
    let seen = |named: fn(&mtls_core::record::TlsInfo) -> Option<&str>| tls.and_then(named);
    let server =
        seen(|tls| tls.server_identity.as_deref()).or_else(|| seen(|tls| tls.sni.as_deref()));
    let client = seen(|tls| tls.client_identity.as_deref());
    let mismatches = [
        mismatch(Side::Server, server, dst),
        mismatch(Side::Client, client, src),
    ];
    record.mismatches = mismatches.into_iter().flatten().collect();
    record.expectation = Some(expectation(record, src, dst));
}

/// An identity that does not match the pod where it was seen.
fn mismatch(side: Side, identity: Option<&str>, pod: Option<&Entry>) -> Option<Mismatch> {
    let seen = identity::account(identity?)?;
    let pod = pod?;
    // Any pod can be behind an address of a Service or a node.
    pod.workload.pod.as_ref()?;
    if pod.facts.host_network {
        return None;
    }
    let namespace = pod.workload.namespace.as_str();
    let expected = match &pod.workload.service_account {
        Some(name) => {
            let expected = Account { namespace, name };
            (seen != expected).then(|| format_smolstr!("{expected}"))
        }
        // Its namespace is known nevertheless.
        None => (seen.namespace != namespace).then(|| format_smolstr!("an account of {namespace}")),
    };
    Some(Mismatch {
        side: side.into(),
        seen: format_smolstr!("{seen}"),
        expected: expected?,
        pod: pod.title().into(),
    })
}

/// Why it was expected, or not met: as a word and as a sentence.
type Why = (Unmet, SmolStr);

/// What is expected of the flow, by the server's annotation, or else by the mesh of either end and
/// its policies, and the outcome.
fn expectation(record: &FlowRecord, src: Option<&Entry>, dst: Option<&Entry>) -> Expectation {
    let port = record.dst.port.unwrap_or_default();
    let rule = dst.and_then(|entry| entry.facts.inbound.at(port));
    if let Some(rule) = rule.filter(|rule| rule.by == By::Annotation) {
        return annotated(record, rule);
    }
    // No mesh carries UDP.
    let udp = record.transport == Transport::Udp;
    let (from, to) = (mesh(src), mesh(dst));
    if udp || from.is_none() && to.is_none() {
        return Expectation::default();
    }
    let left_alone = ports(port, from, to)
        .or_else(|| by_nature(record))
        .or_else(|| disabled(rule));
    if let Some(why) = left_alone {
        return held(record, Expected::Plaintext, Some(why));
    }
    let unreached = ends(src, dst);
    let demanded = rule.map(|rule| rule.level);
    let expected = match (&unreached, demanded) {
        (None, _) | (_, Some(Level::Mtls)) => Expected::Mtls,
        (Some(_), Some(Level::Tls)) => Expected::Tls,
        // The server's mesh accepts clients outside the mesh, as configured.
        (Some((cause, _)), Some(Level::Any)) if *cause != Unmet::StartedBeforeInjection => {
            return nothing(rule);
        }
        // The TLS is the workload's own.
        (Some(_), _) if record.verdict == Verdict::Tls => return Expectation::default(),
        (Some(_), _) => Expected::Mtls,
    };
    let outcome = outcome(record, expected);
    let why = match outcome {
        Outcome::Worse => Some(unreached.unwrap_or_else(|| unexplained(port, to))),
        _ => None,
    };
    // The origin of the requirement is worth reporting.
    let demands = rule.filter(|rule| matches!(rule.level, Level::Mtls | Level::Tls));
    let why = match (why, demands) {
        (Some((cause, why)), Some(rule)) => Some((cause, format_smolstr!("{why}; {}", rule.words))),
        (None, Some(rule)) => Some((Unmet::Policy, rule.words.clone())),
        (why, None) => why,
    };
    told(expected, outcome, why)
}

/// The operator's annotation, whatever the mesh's policy.
fn annotated(record: &FlowRecord, rule: &Rule) -> Expectation {
    if let Some(why) = by_nature(record) {
        return held(record, Expected::Plaintext, Some(why));
    }
    let expected = match rule.level {
        Level::Any => return nothing(Some(rule)),
        Level::Plaintext => Expected::Plaintext,
        Level::Tls => Expected::Tls,
        Level::Mtls => Expected::Mtls,
    };
    held(
        record,
        expected,
        Some((Unmet::Annotated, rule.words.clone())),
    )
}

/// Nothing is expected, according to an explicit configuration.
fn nothing(rule: Option<&Rule>) -> Expectation {
    let cause = |rule: &Rule| match rule.by {
        By::Annotation => Unmet::Annotated,
        By::Policy => Unmet::Policy,
    };
    Expectation {
        cause: rule.map(|rule| cause(rule).into()),
        reason: rule.map(|rule| rule.words.clone()),
        ..Expectation::default()
    }
}

/// Compares what was seen with what was expected.
fn held(record: &FlowRecord, expected: Expected, why: Option<Why>) -> Expectation {
    told(expected, outcome(record, expected), why)
}

fn told(expected: Expected, outcome: Outcome, why: Option<Why>) -> Expectation {
    let (cause, reason) = why.unzip();
    Expectation {
        expected: Some(expected.into()),
        outcome: outcome.into(),
        cause: cause.map(Into::into),
        reason,
    }
}

fn outcome(record: &FlowRecord, expected: Expected) -> Outcome {
    let seen = match record.verdict.known() {
        // Whatever was encrypted after it.
        _ if record.cause == Cause::SecretInClear => Expected::Plaintext,
        Some(Verdict::Plaintext | Verdict::Opaque) => Expected::Plaintext,
        Some(Verdict::Tls) => Expected::Tls,
        Some(Verdict::Mtls) => Expected::Mtls,
        _ => return Outcome::Undecided,
    };
    let rank = |one| match one {
        Expected::Plaintext => 0,
        Expected::Tls => 1,
        Expected::Mtls => 2,
    };
    match rank(seen).cmp(&rank(expected)) {
        Ordering::Less => Outcome::Worse,
        Ordering::Equal => Outcome::AsExpected,
        Ordering::Greater => Outcome::Better,
    }
}

/// The mesh is configured to use plaintext.
fn disabled(rule: Option<&Rule>) -> Option<Why> {
    let rule = rule.filter(|rule| rule.level == Level::Plaintext)?;
    Some((Unmet::Policy, rule.words.clone()))
}

/// Probes and scrapes are plaintext in a mesh as well.
fn by_nature(record: &FlowRecord) -> Option<Why> {
    match record.exempt.as_ref()?.class.known()? {
        Exempt::KubeletProbe => Some((Unmet::KubeletProbe, "a probe of the kubelet".into())),
        Exempt::Scrape => Some((Unmet::Scrape, "a collector of metrics".into())),
        _ => None,
    }
}

/// Both ends are in the mesh. An opaque port is still carried in the mesh's TLS, unless the
/// client's side does not know that the port is opaque.
fn unexplained(port: u16, to: Option<&Mesh>) -> Why {
    let opaque = to.is_some_and(|mesh| {
        let by_default = |sidecar: &Sidecar| sidecar.opaque_by_default.contains(&port);
        mesh.opaque.contains(port) || sidecar(mesh).is_some_and(by_default)
    });
    if opaque {
        let why = format_smolstr!(
            "port {port} is opaque to the mesh that both ends are in, and was not carried by it"
        );
        (Unmet::OpaquePort, why)
    } else {
        (Unmet::Unexplained, "both ends are in the mesh".into())
    }
}

fn mesh(end: Option<&Entry>) -> Option<&Mesh> {
    end?.facts.mesh.as_ref()
}

/// A port that bypasses the mesh, or on which the mesh itself uses plaintext.
fn ports(port: u16, from: Option<&Mesh>, to: Option<&Mesh>) -> Option<Why> {
    let skipped = |side| {
        let why = format_smolstr!("the mesh leaves port {port} alone, {side}");
        (Unmet::PortSkipped, why)
    };
    let by_default = |sidecar: &Sidecar| sidecar.skipped_by_default.contains(&port);
    if let Some(mesh) = to {
        if sidecar(mesh).is_some_and(|sidecar| sidecar.admin_ports.contains(&port)) {
            let why = format_smolstr!("port {port} is {}'s own", mesh.name);
            return Some((Unmet::MeshAdminPort, why));
        }
        if mesh.skip_inbound.contains(port) || sidecar(mesh).is_some_and(by_default) {
            return Some(skipped("inbound"));
        }
    }
    if let Some(mesh) = from
        && (mesh.skip_outbound.contains(port) || sidecar(mesh).is_some_and(by_default))
    {
        return Some(skipped("outbound"));
    }
    None
}

/// Properties of the ends that prevent a mesh from covering them.
fn ends(src: Option<&Entry>, dst: Option<&Entry>) -> Option<Why> {
    for (side, end) in [(Side::Client, src), (Side::Server, dst)] {
        let Some(entry) = end else {
            let why = format_smolstr!("the {side} is no known pod");
            return Some((Unmet::PeerNotInMesh, why));
        };
        let title = entry.title();
        if entry.is_node() || entry.facts.host_network {
            let why = format_smolstr!("the {side}, {title}, is on the network of its node");
            return Some((Unmet::HostNetwork, why));
        }
        match &entry.facts.mesh {
            None => {
                let why = format_smolstr!("the {side}, {title}, is in no mesh");
                return Some((Unmet::PeerNotInMesh, why));
            }
            Some(mesh) if mesh.membership == Membership::Requested => {
                let why = format_smolstr!("{title} has no {} proxy: restart it", mesh.name);
                return Some((Unmet::StartedBeforeInjection, why));
            }
            Some(_) => {}
        }
    }
    let (from, to) = (mesh(src)?, mesh(dst)?);
    let why = || {
        format_smolstr!(
            "the ends are in different meshes: {}, {}",
            from.name,
            to.name
        )
    };
    (from.name != to.name).then(|| (Unmet::DifferentMeshes, why()))
}

#[cfg(test)]
#[path = "expect_tests.rs"]
mod tests;
