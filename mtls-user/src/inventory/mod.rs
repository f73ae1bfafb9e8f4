//! What TLS is made of: versions, ciphers, groups, certificates, by workload, and what of it is below
//! a policy. Made of connections, so of whatever a source knows one by one.

pub(crate) mod cyclonedx;
mod policy;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mtls_core::record::{
    Below, CertificateInfo, CertificateSeen, ClientCertificate, FlowList, FlowRecord, Inventory,
    InventoryItem, Peer, PostQuantum, SCHEMA, Shown, Side, Tally, Time, TlsInfo, Transport,
    Verdict, Word,
};
use mtls_core::wire::tls::names;
use smol_str::SmolStr;

use policy::Fault;
pub(crate) use policy::Policy;

/// Workloads that are named with a certificate.
const SHOWN_BY: usize = Tally::MAX;

/// What makes an item: namespace, name and kind of the workload, its role, its port, and what carries
/// it.
type Key = (
    (SmolStr, SmolStr, SmolStr),
    Side,
    Option<u16>,
    Word<Transport>,
);

/// Adds connections up.
struct Sums<'a> {
    policy: Option<&'a Policy>,
    generated: Time,
    whole: Inventory,
    items: BTreeMap<Key, InventoryItem>,
    certificates: BTreeMap<(SmolStr, SmolStr, Time), CertificateSeen>,
    below: BTreeMap<Key, BTreeMap<Fault, u64>>,
}

/// The inventory of these connections, held against a policy where there is one.
pub(crate) fn of(list: FlowList, policy: Option<&Policy>) -> Inventory {
    let mut sums = Sums {
        policy,
        generated: list.generated,
        whole: Inventory {
            schema: SCHEMA,
            node: list.node,
            generated: list.generated,
            window_seconds: list.window_seconds,
            nodes: list.nodes,
            watched: list.watched,
            history: list.history,
            policy: policy.map(|policy| policy.name.clone()),
            ..Inventory::default()
        },
        items: BTreeMap::new(),
        certificates: BTreeMap::new(),
        below: BTreeMap::new(),
    };
    for flow in &list.items {
        sums.add(flow);
    }
    sums.finish()
}

/// Whether it is TLS, as far as it is known what it is.
fn is_tls(flow: &FlowRecord) -> bool {
    let proven = matches!(
        flow.verdict.known(),
        Some(Verdict::Mtls | Verdict::Tls | Verdict::TlsUnproven)
    );
    proven || flow.tls.is_some()
}

impl Sums<'_> {
    fn add(&mut self, flow: &FlowRecord) {
        let is_tls = is_tls(flow);
        if !is_tls && (flow.exempt.is_some() || flow.verdict == Verdict::NoData) {
            self.whole.exempt += 1;
            return;
        }
        let tls = flow.tls.as_deref();
        let post_quantum = post_quantum(flow);
        self.whole.connections += 1;
        self.whole.tls_connections += u64::from(is_tls);
        let hidden = &mut self.whole.not_visible;
        if is_tls {
            match tls.and_then(|tls| tls.version.as_deref()) {
                None => hidden.hellos += 1,
                Some(version) if is_13(version) => hidden.certificates += 1,
                Some(_) => hidden.groups += 1,
            }
            add(&mut self.whole.post_quantum, post_quantum);
        } else if matches!(flow.verdict.known(), None | Some(Verdict::Unobserved)) {
            hidden.unobserved += 1;
        }
        let (mut is_below, mut is_open) = (false, false);
        for (peer, role) in [(&flow.src, Side::Client), (&flow.dst, Side::Server)] {
            let key = key(peer, role, flow);
            let item = self
                .items
                .entry(key.clone())
                .or_insert_with(|| InventoryItem {
                    workload: workload(peer),
                    role: role.into(),
                    port: key.2,
                    transport: flow.transport.clone(),
                    first_seen: flow.first_seen,
                    ..InventoryItem::default()
                });
            count(item, flow, role, is_tls, post_quantum);
            if let Some((certificate, days_left)) =
                certificate(tls, role).map(|seen| (seen, days(seen.not_after, self.generated)))
            {
                item.days_left = Some(item.days_left.map_or(days_left, |own| own.min(days_left)));
                let id = (
                    certificate.sha256.clone(),
                    certificate.subject.clone(),
                    certificate.not_after,
                );
                let seen = self
                    .certificates
                    .entry(id)
                    .or_insert_with(|| CertificateSeen {
                        schema: SCHEMA,
                        certificate: certificate.clone(),
                        days_left,
                        ..CertificateSeen::default()
                    });
                show(seen, peer, role, flow.last_seen);
            }
            if let Some(policy) = self.policy {
                let judged = policy.judge(flow, role, self.generated);
                is_below |= !judged.below.is_empty();
                is_open |= !judged.not_judged.is_empty();
                for aspect in judged.not_judged {
                    *item.not_judged.entry(aspect.into()).or_default() += 1;
                }
                let faults = self.below.entry(key).or_default();
                for fault in judged.below {
                    *faults.entry(fault).or_default() += 1;
                }
            }
        }
        self.whole.below += u64::from(is_below);
        self.whole.not_judged += u64::from(is_open && !is_below);
    }

    fn finish(mut self) -> Inventory {
        for (key, faults) in self.below {
            if let Some(item) = self.items.get_mut(&key) {
                item.below = faults
                    .into_iter()
                    .map(|(fault, connections)| Below {
                        aspect: fault.aspect.into(),
                        value: fault.value,
                        held_back_by: fault.held_back_by.map(Into::into),
                        connections,
                    })
                    .collect();
            }
        }
        self.whole.items = self.items.into_values().collect();
        self.whole.certificates = self.certificates.into_values().collect();
        self.whole
            .certificates
            .sort_by_key(|seen| seen.certificate.not_after);
        self.whole
    }
}

/// Adds one connection to the workload at one of its ends.
fn count(
    item: &mut InventoryItem,
    flow: &FlowRecord,
    role: Side,
    is_tls: bool,
    chose: Option<Chose>,
) {
    item.connections += 1;
    item.protocols.add(&flow.protocol, 1);
    item.first_seen = item.first_seen.min(flow.first_seen);
    item.last_seen = item.last_seen.max(flow.last_seen);
    if !is_tls {
        return;
    }
    item.tls_connections += 1;
    add(&mut item.post_quantum, chose);
    let Some(tls) = flow.tls.as_deref() else {
        return;
    };
    for (tally, value) in [
        (&mut item.tls_versions, &tls.version),
        (&mut item.versions_offered, &tls.version_offered),
        (&mut item.ciphers, &tls.cipher),
        (&mut item.groups, &tls.group),
    ] {
        if let Some(value) = value {
            tally.add(value, 1);
        }
    }
    for group in &*tls.groups_offered {
        item.groups_offered.add(group, 1);
    }
    let identity = match role {
        Side::Client => &tls.client_identity,
        Side::Server => &tls.server_identity,
    };
    if let Some(identity) = identity {
        item.identities.add(identity, 1);
        if identity.starts_with("spiffe://") {
            item.spiffe_ids.add(identity, 1);
        }
    }
    match certificate(Some(tls), role) {
        Some(certificate) => {
            item.key_types.add(&certificate.key, 1);
            item.issuers.add(&certificate.issuer, 1);
        }
        None => item.certificates_hidden += u64::from(may_have_shown(tls, role)),
    }
}

/// Whether an end's certificate crossed the wire where nobody can read it, or may have.
fn may_have_shown(tls: &TlsInfo, role: Side) -> bool {
    let is_hidden = tls.version.as_deref().is_none_or(is_13);
    let absent = matches!(
        tls.client_certificate.known(),
        Some(ClientCertificate::NotRequested | ClientCertificate::NotPresented)
    );
    is_hidden && (role == Side::Server || !absent)
}

fn certificate(tls: Option<&TlsInfo>, role: Side) -> Option<&CertificateInfo> {
    let tls = tls?;
    match role {
        Side::Client => tls.client_cert.as_deref(),
        Side::Server => tls.server_cert.as_deref(),
    }
}

/// Notes who showed a certificate.
fn show(seen: &mut CertificateSeen, peer: &Peer, role: Side, at: Time) {
    seen.connections += 1;
    seen.last_seen = seen.last_seen.max(at);
    let shown = Shown {
        workload: workload(peer),
        role: role.into(),
    };
    if seen.shown_by.contains(&shown) {
        return;
    }
    if seen.shown_by.len() < SHOWN_BY {
        seen.shown_by.push(shown);
    } else {
        seen.others += 1;
    }
}

/// The workload, without what is of one pod or one connection alone.
fn workload(peer: &Peer) -> Peer {
    let mut peer = peer.clone();
    peer.port = None;
    if let Some(who) = &mut peer.workload {
        who.pod = None;
        if !who.name.is_empty() {
            peer.ip = None;
        }
    }
    peer
}

fn key(peer: &Peer, role: Side, flow: &FlowRecord) -> Key {
    let kind = peer.workload.as_ref().map_or("", |who| who.kind.as_str());
    let who = (
        peer.namespace().unwrap_or_default().into(),
        peer.name().into(),
        kind.into(),
    );
    let port = flow.dst.port.filter(|_| role == Side::Server);
    (who, role, port, flow.transport.clone())
}

/// TLS 1.3 or a draft of it, which encrypts certificates.
fn is_13(version: &str) -> bool {
    version.starts_with("1.3")
}

/// Whole days from `now` until `then`, negative when that has passed.
fn days(then: Time, now: Time) -> i64 {
    (then.as_seconds() - now.as_seconds()).div_euclid(24 * 3_600)
}

/// What a key exchange chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chose {
    PostQuantum,
    Classical { held_back_by: Side },
}

/// Whether a TLS connection's key exchange is post-quantum; `None`: not known.
fn post_quantum(flow: &FlowRecord) -> Option<Chose> {
    let tls = flow.tls.as_deref()?;
    let version = tls.version.as_deref()?;
    if tls.group.as_deref().is_some_and(names::is_post_quantum) {
        return Some(Chose::PostQuantum);
    }
    // Without a group, TLS 1.3 goes by a pre-shared key alone; TLS 1.2 has no such groups at all.
    if tls.group.is_none() && is_13(version) {
        return None;
    }
    // What was offered is known where the hello was seen, which always says a version.
    tls.version_offered.as_ref()?;
    let offered = tls.groups_offered.iter();
    let held_back_by = if offered
        .into_iter()
        .any(|group| names::is_post_quantum(group))
    {
        Side::Server
    } else {
        Side::Client
    };
    Some(Chose::Classical { held_back_by })
}

fn add(sums: &mut PostQuantum, chose: Option<Chose>) {
    match chose {
        Some(Chose::PostQuantum) => sums.used += 1,
        Some(Chose::Classical {
            held_back_by: Side::Client,
        }) => sums.held_back_by_client += 1,
        Some(Chose::Classical {
            held_back_by: Side::Server,
        }) => sums.held_back_by_server += 1,
        None => sums.unknown += 1,
    }
}
