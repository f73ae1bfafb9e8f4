//! The directory at one moment, never changed once made.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;
use smol_str::ToSmolStr;

use super::{ANY, Entry, Source};
use mtls_core::record::{Kind, Workload};

/// That an entry held an address, or a part of it, for a time.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) entry: Arc<Entry>,
    /// Nanoseconds since the Unix epoch.
    pub(super) from: u64,
    /// `u64::MAX` while it holds.
    pub(super) until: u64,
    pub(super) source: Source,
    /// When its source was last right, if it is out of reach.
    pub(super) stale: Option<u64>,
}

type Claims<K> = HashMap<K, SmallVec<[Claim; 1]>>;

/// Whoever an address belongs to.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known of it.
    pub entry: Arc<Entry>,
    /// When that was last known to be right (nanoseconds since the Unix epoch), where its source
    /// is out of reach.
    pub stale: Option<u64>,
}

impl Found {
    /// As flows at `time` name it.
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
    /// Addresses that are shared: a node's, a load balancer's.
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
        // Only an address of nobody or of a node is worth a second look, at its port.
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

/// An address as its own name, where nobody is known to have it.
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

    /// The lower, the better a claim for `time`: one that held then, before one that was not heard
    /// of yet (a flow can be older than the news of its pod), before one that had ended (a flow's
    /// last events come after the end of its pod). Of those, one whose source can be asked; then by
    /// how well the source knows; then the nearest; then the one that held longest, as the same pod
    /// with something changed succeeds itself.
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

/// Who held the address at `time`.
fn at(list: &[Claim], time: u64) -> Option<&Claim> {
    match list {
        [only] => Some(only),
        _ => list.iter().min_by_key(|claim| claim.distance(time)),
    }
}

/// Whether only a network of one's own has such addresses (RFC 1918, 6598, 3927, 4193, 4291).
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
