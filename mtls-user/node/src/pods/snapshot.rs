//! An immutable snapshot of the directory.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;
use smol_str::ToSmolStr;

use super::{ANY, Entry, Source};
use mtls_core::record::{Kind, Workload};

/// A claim: an entry had an address, or a part of it, for a time.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) entry: Arc<Entry>,
    /// Nanoseconds since the Unix epoch.
    pub(super) from: u64,
    /// `u64::MAX` while it is current.
    pub(super) until: u64,
    pub(super) source: Source,
    /// When its source was last correct, if it cannot be reached.
    pub(super) stale: Option<u64>,
}

type Claims<K> = HashMap<K, SmallVec<[Claim; 1]>>;

/// The owner of an address.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known about it.
    pub entry: Arc<Entry>,
    /// When that was last known to be correct (nanoseconds since the Unix epoch), if its source
    /// cannot be reached.
    pub stale: Option<u64>,
}

impl Found {
    /// The name for flows at `time`.
    pub fn workload(&self, time: u64) -> Workload {
        Workload {
            stale: self
                .stale
                .map(|updated| time.saturating_sub(updated) / 1_000_000_000),
            ..self.entry.workload.clone()
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    generation: u64,
    addresses: Claims<IpAddr>,
    /// Shared addresses: a node's, a load balancer's.
    ports: Claims<(IpAddr, u16)>,
    links: Claims<u32>,
}

impl Snapshot {
    pub(super) fn new(generation: u64, claims: impl Iterator<Item = Claim>) -> Self {
        let mut snapshot = Self {
            generation,
            ..Self::default()
        };
        for claim in claims {
            let entry = claim.entry.clone();
            for ip in entry.addresses.iter().map(IpAddr::to_canonical) {
                if entry.ports.is_empty() && !ip.is_unspecified() {
                    let list = snapshot.addresses.entry(ip).or_default();
                    list.push(claim.clone());
                }
                for port in &entry.ports {
                    let list = snapshot.ports.entry((ip, *port)).or_default();
                    list.push(claim.clone());
                }
            }
            for link in &entry.links {
                let list = snapshot.links.entry(*link).or_default();
                list.push(claim.clone());
            }
        }
        snapshot
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn find(&self, ip: IpAddr, port: u16, time: u64) -> Option<Found> {
        let ip = ip.to_canonical();
        let owner = self.addresses.get(&ip).and_then(|list| at(list, time));
        // Only for an address of nobody or of a node, its port is checked as well.
        if let Some(owner) = owner
            && !owner.entry.is_node()
        {
            return Some(owner.found());
        }
        let at_port = |ip| self.ports.get(&(ip, port)).and_then(|list| at(list, time));
        at_port(ip)
            .or_else(|| owner.and_then(|_| at_port(ANY)))
            .or(owner)
            .map(Claim::found)
    }

    pub(super) fn find_link(&self, link: u32, time: u64) -> Option<Found> {
        at(self.links.get(&link)?, time).map(Claim::found)
    }
}

/// An address as its own name, if it has no known owner.
pub(super) fn nameless(ip: IpAddr) -> Workload {
    let ip = ip.to_canonical();
    Workload {
        name: ip.to_smolstr(),
        kind: if is_private(ip) {
            Kind::Unknown
        } else {
            Kind::External
        }
        .into(),
        ..Workload::default()
    }
}

impl Claim {
    fn found(&self) -> Found {
        Found {
            entry: self.entry.clone(),
            stale: self.stale,
        }
    }

    /// Lower values for better claims at `time`: one that was valid then, before one that was not
    /// known yet (a flow can be older than the report of its pod), before one that had ended (a
    /// flow's last events arrive after the end of its pod). Among those, one whose source can be
    /// reached; then by the source's precedence; then the nearest; then the one that was valid
    /// longest, because a changed pod replaces its own earlier entry.
    fn distance(&self, time: u64) -> (u8, bool, Source, u64, Reverse<u64>) {
        let (class, nearness) = if time < self.from {
            (1, self.from - time)
        } else if time <= self.until {
            (0, time - self.from)
        } else {
            (2, time - self.until)
        };
        let last = Reverse(self.until);
        (class, self.stale.is_some(), self.source, nearness, last)
    }
}

/// The owner of the address at `time`.
fn at(list: &[Claim], time: u64) -> Option<&Claim> {
    match list {
        [only] => Some(only),
        _ => list.iter().min_by_key(|claim| claim.distance(time)),
    }
}

/// Whether such addresses are used only in private networks (RFC 1918, 6598, 3927, 4193, 4291).
pub(super) fn is_private(ip: IpAddr) -> bool {
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
