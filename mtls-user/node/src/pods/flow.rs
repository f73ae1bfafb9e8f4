//! Names both ends of a flow.

use std::net::IpAddr;

use super::{Directory, Found, exempt, expect, snapshot};
use mtls_core::record::{FlowRecord, Peer};

/// The prefixes of the notes that are written here.
const OWN_NOTES: [&str; 2] = ["unknown-pod: ", exempt::EXPIRED];

/// Names both ends, and notes what is unexpected between them. A flow may be named again when more
/// names are known.
pub fn name_flow(directory: &Directory, record: &mut FlowRecord) {
    let own = |note: &str| OWN_NOTES.iter().any(|own| note.starts_with(own));
    record.notes.retain(|note| !own(note));
    let (Some(src_ip), Some(dst_ip)) = (record.src.ip, record.dst.ip) else {
        return;
    };
    let time = record.last_seen.as_nanos();
    let find = |ip: IpAddr, peer: &Peer| directory.find(ip, peer.port.unwrap_or_default(), time);
    let (src, dst) = (find(src_ip, &record.src), find(dst_ip, &record.dst));
    let links = &record.links;
    let (src, src_note) = behind(directory, src_ip, src, dst.as_ref(), links, time);
    let (dst, dst_note) = behind(directory, dst_ip, dst, src.as_ref(), links, time);
    record
        .notes
        .extend([src_note, dst_note].into_iter().flatten());
    let workload = |found: &Option<Found>, ip| match found {
        Some(found) => found.workload(time),
        None => snapshot::nameless(ip),
    };
    record.src.workload = Some(workload(&src, src_ip));
    record.dst.workload = Some(workload(&dst, dst_ip));
    let entry = |found: &Option<Found>| found.as_ref().map(|found| found.entry.clone());
    let (src, dst) = (entry(&src), entry(&dst));
    let (declared, dns) = (directory.declared(), directory.exempts_dns());
    exempt::annotate(record, src.as_deref(), &declared, dns);
    expect::annotate(record, src.as_deref(), dst.as_deref());
}

/// Compares the owner of an address with the interfaces that its flow crossed. An address without a
/// name may be behind a known pod's interface. One that was seen behind another interface than its
/// owner's no longer belongs to that owner, or is used without permission.
fn behind(
    directory: &Directory,
    ip: IpAddr,
    named: Option<Found>,
    other: Option<&Found>,
    links: &[u32],
    time: u64,
) -> (Option<Found>, Option<String>) {
    let is_here = |found: &Found| {
        let own = &found.entry.links;
        own.is_empty() || links.iter().any(|link| own.contains(link))
    };
    // External addresses are behind whatever interface leads to them.
    let foreign = named.is_none() && !snapshot::is_private(ip.to_canonical());
    let Some(link) = other_link(links, other) else {
        return (named, None);
    };
    if foreign || named.as_ref().is_some_and(is_here) {
        return (named, None);
    }
    let found = directory.find_link(link, time);
    let note = found.is_none().then(|| {
        let name = directory.interface(link);
        format!(
            "unknown-pod: {ip} is behind interface {} ({link}), which no source has a name for",
            name.as_deref().unwrap_or("?")
        )
    });
    (found, note)
}

/// The only interface on which a flow was seen besides those of its other end. `None` if the other
/// end's interfaces are unknown, because then it cannot be determined which end an interface
/// belongs to.
fn other_link(links: &[u32], other: Option<&Found>) -> Option<u32> {
    let own = other.map_or(&[][..], |found| found.entry.links.as_slice());
    // An end that is not a pod of this node has none.
    if own.is_empty() && other.is_none_or(|found| found.entry.workload.pod.is_some()) {
        return None;
    }
    let mut others = links.iter().filter(|link| !own.contains(link));
    let link = others.next()?;
    others.next().is_none().then_some(*link)
}

#[cfg(test)]
mod tests {
    use smol_str::SmolStr;

    use super::super::{Entry, Source};
    use super::*;
    use mtls_core::record::{Kind, Time, Verdict, Workload};

    const SECOND: u64 = 1_000_000_000;

    fn pod(name: &str, ip: &str, link: u32) -> Entry {
        Entry {
            workload: Workload {
                name: name.into(),
                kind: Kind::Pod.into(),
                pod: Some(name.into()),
                ..Workload::default()
            },
            addresses: vec![ip.parse().unwrap()],
            links: vec![link],
            ..Entry::default()
        }
    }

    fn flow(src: &str, dst: &str, links: &[u32]) -> FlowRecord {
        let peer = |ip: &str| Peer {
            ip: ip.parse().ok(),
            port: Some(80),
            workload: None,
        };
        FlowRecord {
            src: peer(src),
            dst: peer(dst),
            verdict: Verdict::Mtls.into(),
            first_seen: Time::from_nanos(2 * SECOND),
            last_seen: Time::from_nanos(2 * SECOND),
            links: links.into(),
            ..FlowRecord::default()
        }
    }

    fn names(directory: &Directory, mut record: FlowRecord) -> (SmolStr, SmolStr, Vec<String>) {
        // Twice has the same result as once.
        name_flow(directory, &mut record);
        name_flow(directory, &mut record);
        let name = |peer: Peer| peer.workload.unwrap().name;
        (name(record.src), name(record.dst), record.notes)
    }

    fn directory() -> Directory {
        let directory = Directory::new();
        let pods = [pod("web", "10.0.0.1", 1), pod("db", "10.0.0.2", 2)];
        directory.publish(Source::Cri, pods, SECOND);
        directory
    }

    #[test]
    fn an_address_that_nobody_has_is_named_by_its_interface() {
        let directory = directory();
        let (src, dst, notes) = names(&directory, flow("10.9.9.9", "10.0.0.2", &[2, 1]));
        assert_eq!((&*src, &*dst, notes.len()), ("web", "db", 0));
        let (src, _, notes) = names(&directory, flow("10.9.9.9", "10.0.0.2", &[2, 77]));
        assert_eq!(src, "10.9.9.9");
        assert!(
            notes[0].starts_with("unknown-pod: 10.9.9.9 is behind interface"),
            "{notes:?}"
        );
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn an_address_behind_anothers_interface_is_not_its_owners() {
        let directory = directory();
        // A pod that is too new to be known has the address of one that is gone.
        let (src, _, notes) = names(&directory, flow("10.0.0.1", "10.0.0.2", &[2, 3]));
        assert_eq!((&*src, notes.len()), ("10.0.0.1", 1));
        // Or a known one uses it.
        directory.publish(Source::Netns, [pod("thief", "10.0.0.3", 3)], SECOND);
        let (src, _, _) = names(&directory, flow("10.0.0.1", "10.0.0.2", &[2, 3]));
        assert_eq!(src, "thief");
    }

    #[test]
    fn what_cannot_be_told_is_left_alone() {
        let directory = directory();
        for (record, expected) in [
            // Seen at one end only.
            (flow("10.0.0.1", "10.0.0.2", &[2]), ("web", "db")),
            (flow("10.0.0.1", "10.0.0.2", &[]), ("web", "db")),
            // Through a pod in between.
            (flow("10.0.0.1", "10.0.0.2", &[1, 5, 6, 2]), ("web", "db")),
            // From elsewhere, to a pod that is here.
            (flow("10.9.9.9", "10.0.0.2", &[2]), ("10.9.9.9", "db")),
            (flow("10.0.0.1", "1.1.1.1", &[1, 9]), ("web", "1.1.1.1")),
        ] {
            let (src, dst, notes) = names(&directory, record);
            assert_eq!((&*src, &*dst, notes.len()), (expected.0, expected.1, 0));
        }
    }
}
