//! What was to be expected of a flow between two pods, against what was seen: the kubelet's
//! probes, identities that are not the pod's, and plaintext where a mesh should be.

use super::Entry;
use super::identity::{self, Account};
use super::mesh::{Membership, Mesh};
use mtls_core::mesh::{self as known, Sidecar};
use mtls_core::record::{FlowRecord, Verdict};

/// What is known of the mesh that a pod is in.
fn sidecar(mesh: &Mesh) -> Option<&'static Sidecar> {
    known::Mesh::with_sidecars()
        .find(|(known, _)| known.name == mesh.name)
        .map(|(_, sidecar)| sidecar)
}

/// Writes down what of `record` is not as it should be between `src` and `dst`.
pub fn annotate(record: &mut FlowRecord, src: Option<&Entry>, dst: Option<&Entry>) {
    let probe = is_probe(record, src);
    if probe {
        record.reason = "kubelet-probe".into();
    }
    let tls = record.tls.as_deref();
    let seen = |named: fn(&mtls_core::record::TlsInfo) -> Option<&str>| tls.and_then(named);
    let server =
        seen(|tls| tls.server_identity.as_deref()).or_else(|| seen(|tls| tls.sni.as_deref()));
    let client = seen(|tls| tls.client_identity.as_deref());
    let mismatches = [
        mismatch("server", server, dst),
        mismatch("client", client, src),
    ];
    record.notes.extend(mismatches.into_iter().flatten());
    if matches!(record.verdict, Verdict::Plaintext | Verdict::Opaque) {
        let unmet = unmet(record, src, dst, probe);
        record.notes.extend(unmet);
    }
}

/// The kubelet asks in clear, from the node's own address. Both are needed: anybody can claim to
/// be the kubelet, and the node has other things to say.
fn is_probe(record: &FlowRecord, src: Option<&Entry>) -> bool {
    record.verdict == Verdict::Plaintext
        && src.is_some_and(Entry::is_node)
        && agent(record).is_some_and(|agent| agent.starts_with("kube-probe"))
}

fn agent(record: &FlowRecord) -> Option<&str> {
    record.http.as_ref()?.user_agent.as_deref()
}

/// An identity that is not that of the pod it was met at.
fn mismatch(side: &str, identity: Option<&str>, pod: Option<&Entry>) -> Option<String> {
    let seen = identity::account(identity?)?;
    let pod = pod?;
    // Behind an address of a Service or of a node can be any pod.
    pod.workload.pod.as_ref()?;
    if pod.facts.host_network {
        return None;
    }
    let namespace = pod.workload.namespace.as_str();
    let Some(name) = &pod.workload.service_account else {
        // Its namespace is known all the same.
        return (seen.namespace != namespace).then(|| {
            format!(
                "identity-mismatch: {side} is {seen}, expected an account of {namespace} (pod {})",
                pod.title()
            )
        });
    };
    let expected = Account { namespace, name };
    (seen != expected).then(|| {
        format!(
            "identity-mismatch: {side} is {seen}, expected {expected} (pod {})",
            pod.title()
        )
    })
}

/// Why a flow with an end in a mesh went unprotected, as far as can be told.
fn unmet(
    record: &FlowRecord,
    src: Option<&Entry>,
    dst: Option<&Entry>,
    probe: bool,
) -> Option<String> {
    let (from, to) = (mesh(src), mesh(dst));
    if from.is_none() && to.is_none() {
        return None;
    }
    let why = if probe {
        "kubelet-probe".into()
    } else {
        ports(record.dst.port, from, to)
            .or_else(|| agent(record).and_then(scrape))
            .or_else(|| ends(src, dst))
            .unwrap_or_else(|| unexplained(record.dst.port, to))
    };
    Some(format!("expected-mtls: {why}"))
}

/// Both ends are in the mesh. An opaque port is carried in the mesh's TLS all the same, unless the
/// client's side was not told that it is one.
fn unexplained(port: u16, to: Option<&Mesh>) -> String {
    let opaque = to.is_some_and(|mesh| {
        let by_default = |sidecar: &Sidecar| sidecar.opaque_by_default.contains(&port);
        mesh.opaque.contains(port) || sidecar(mesh).is_some_and(by_default)
    });
    if opaque {
        format!("opaque-port {port}: both ends are in the mesh, but it was not carried by it")
    } else {
        "both ends are in the mesh: unexplained".into()
    }
}

fn mesh(end: Option<&Entry>) -> Option<&Mesh> {
    end?.facts.mesh.as_ref()
}

/// A port that a mesh was told to leave alone, or uses in clear itself.
fn ports(port: u16, from: Option<&Mesh>, to: Option<&Mesh>) -> Option<String> {
    let by_default = |sidecar: &Sidecar| sidecar.skipped_by_default.contains(&port);
    if let Some(mesh) = to {
        if sidecar(mesh).is_some_and(|sidecar| sidecar.admin_ports.contains(&port)) {
            return Some(format!("mesh-admin-port {port} of {}", mesh.name));
        }
        if mesh.skip_inbound.contains(port) || sidecar(mesh).is_some_and(by_default) {
            return Some(format!("port-skipped: {port}, inbound"));
        }
    }
    if let Some(mesh) = from
        && (mesh.skip_outbound.contains(port) || sidecar(mesh).is_some_and(by_default))
    {
        return Some(format!("port-skipped: {port}, outbound"));
    }
    None
}

fn scrape(agent: &str) -> Option<String> {
    let agent = agent.split('/').next()?;
    ["Prometheus", "vmagent", "Grafana"]
        .iter()
        .any(|known| agent.starts_with(known))
        .then(|| format!("scrape by {agent}"))
}

/// What the ends are that a mesh cannot reach, or has not reached yet.
fn ends(src: Option<&Entry>, dst: Option<&Entry>) -> Option<String> {
    for (side, end) in [("client", src), ("server", dst)] {
        let Some(entry) = end else {
            return Some(format!("peer-not-in-mesh: the {side} is no known pod"));
        };
        if entry.is_node() || entry.facts.host_network {
            return Some(format!("host-network: the {side} is {}", entry.title()));
        }
        match &entry.facts.mesh {
            None => {
                return Some(format!("peer-not-in-mesh: the {side}, {}", entry.title()));
            }
            Some(mesh) if mesh.membership == Membership::Requested => {
                return Some(format!(
                    "started-before-injection: {} has no {} proxy; restart it",
                    entry.title(),
                    mesh.name
                ));
            }
            Some(_) => {}
        }
    }
    let (from, to) = (mesh(src)?, mesh(dst)?);
    (from.name != to.name).then(|| format!("different-meshes: {} and {}", from.name, to.name))
}

#[cfg(test)]
#[path = "expect_tests.rs"]
mod tests;
