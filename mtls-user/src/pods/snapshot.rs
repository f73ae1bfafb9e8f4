//! The directory at one moment, never changed once made.

use std::net::IpAddr;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::Dated;
use crate::verdict::Workload;

/// Kind of an address of which nothing is known but that it is of a private network.
const UNKNOWN: &str = "unknown";
/// Kind of an address outside of every private network.
const EXTERNAL: &str = "external";

#[derive(Clone, Debug)]
struct Named {
    dated: Dated,
    /// When its source was last right, if it is out of reach.
    stale: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    generation: u64,
    /// Entries per address, in the order in which they began to hold.
    addresses: HashMap<IpAddr, SmallVec<[Named; 1]>>,
    links: HashMap<u32, SmallVec<[Named; 1]>>,
}

impl Snapshot {
    pub(super) fn new<'a>(
        generation: u64,
        entries: impl Iterator<Item = (&'a Dated, Option<u64>)>,
    ) -> Self {
        let mut snapshot = Self {
            generation,
            ..Self::default()
        };
        for (dated, stale) in entries {
            let named = Named {
                dated: dated.clone(),
                stale,
            };
            for ip in &dated.entry.addresses {
                let list = snapshot.addresses.entry(ip.to_canonical()).or_default();
                list.push(named.clone());
            }
            for link in &dated.entry.links {
                let list = snapshot.links.entry(*link).or_default();
                list.push(named.clone());
            }
        }
        for list in snapshot.addresses.values_mut() {
            list.sort_by_key(|named| named.dated.from);
        }
        for list in snapshot.links.values_mut() {
            list.sort_by_key(|named| named.dated.from);
        }
        snapshot
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn name(&self, ip: IpAddr, link: Option<u32>, time: u64) -> Workload {
        let ip = ip.to_canonical();
        let by_address = self.addresses.get(&ip);
        let by_link = || self.links.get(&link?);
        if let Some(list) = by_address.or_else(by_link)
            && let Some(named) = at(list, time)
        {
            let mut workload = named.dated.entry.workload.clone();
            workload.stale = named
                .stale
                .map(|updated| time.saturating_sub(updated) / 1_000_000_000);
            return workload;
        }
        Workload {
            name: ip.to_string(),
            kind: if is_private(ip) { UNKNOWN } else { EXTERNAL }.into(),
            ..Workload::default()
        }
    }
}

/// Who held the address at `time`: of those that had not ended by then, the one that began first.
/// A flow can be older than the news of its pod, and later than its end.
fn at(list: &[Named], time: u64) -> Option<&Named> {
    list.iter()
        .find(|named| named.dated.until.is_none_or(|until| time <= until))
        .or(list.last())
}

/// Whether only a network of one's own has such addresses (RFC 1918, 6598, 3927, 4193, 4291).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || v4.is_loopback()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
