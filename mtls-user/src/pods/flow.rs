//! Names for both ends of a flow.

use super::{Directory, Found, expect, snapshot};
use crate::verdict::{FlowRecord, Peer};

/// How notes begin that are written here.
const OWN_NOTES: [&str; 3] = ["unknown-pod: ", "identity-mismatch: ", "expected-mtls: "];

/// Names both ends, and notes what is not as it should be between them.
pub fn name_flow(directory: &Directory, record: &mut FlowRecord) {
    // A flow is named again when more names are known.
    let own = |note: &str| OWN_NOTES.iter().any(|own| note.starts_with(own));
    record.notes.retain(|note| !own(note));
    let time = record.last_seen;
    let find = |peer: &Peer| directory.find(peer.ip, peer.port, time);
    let (mut src, mut dst) = (find(&record.src), find(&record.dst));
    let (nameless, known) = match (&mut src, &mut dst) {
        (src @ None, Some(dst)) => (Some((src, record.src.ip)), Some(&*dst)),
        (Some(src), dst @ None) => (Some((dst, record.dst.ip)), Some(&*src)),
        _ => (None, None),
    };
    // An address that nobody is known to have may be behind an interface that somebody has. The
    // world's are behind whatever leads there.
    if let Some((nameless, ip)) = nameless
        && snapshot::is_private(ip.to_canonical())
        && let Some(link) = known.and_then(|known| other_link(&record.links, known))
    {
        *nameless = directory.find_link(link, time);
        if nameless.is_none() {
            let name = nix::net::if_::if_indextoname(link).ok();
            let name = name.and_then(|name| name.into_string().ok());
            record.notes.push(format!(
                "unknown-pod: {ip} is behind interface {} ({link}), which no source has a name for",
                name.as_deref().unwrap_or("?")
            ));
        }
    }
    let workload = |found: &Option<Found>, peer: &Peer| match found {
        Some(found) => found.workload(time),
        None => snapshot::nameless(peer.ip),
    };
    record.src.workload = Some(workload(&src, &record.src));
    record.dst.workload = Some(workload(&dst, &record.dst));
    let entry = |found: &Option<Found>| found.as_ref().map(|found| found.entry.clone());
    expect::annotate(record, entry(&src).as_deref(), entry(&dst).as_deref());
}

/// The interface that a flow was seen on beside those of the end that is known.
fn other_link(links: &[u32], known: &Found) -> Option<u32> {
    let own = &known.entry.links;
    // Where the known end's are not known, none can be told to be the other's.
    if own.is_empty() && !known.entry.is_node() {
        return None;
    }
    let mut others = links.iter().filter(|link| !own.contains(link));
    let link = others.next()?;
    others.next().is_none().then_some(*link)
}
