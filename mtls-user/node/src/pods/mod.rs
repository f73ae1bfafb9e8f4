//! Maps addresses to their owners: a directory fed by any number of sources.
//!
//! A source publishes everything it knows at once. The directory remembers removed entries for a
//! while, because the last events of a pod arrive after its end. Lookups take no lock.

pub mod cri;
mod declared;
mod entry;
mod exempt;
pub mod expect;
mod file;
mod flow;
mod identity;
pub mod inbound;
pub mod kubernetes;
mod merge;
pub mod mesh;
mod netns;
mod node;
mod owner;
mod snapshot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use smol_str::SmolStr;

pub use declared::Declarations;
pub use entry::{ANY, Entry, Facts};
pub use file::read as read_file;
pub use flow::name_flow;
use mtls_core::record::{SourceHealth, Time, Workload};
pub use netns::scan as scan_namespaces;
pub use node::{addresses as node_addresses, name as node_name};
pub use snapshot::Found;
use snapshot::{Claim, Snapshot};

/// How long a pod's name is kept after its end.
const GRACE: Duration = Duration::from_mins(5);
/// Most entries per source; the largest clusters have 150,000 pods.
const MAX_ENTRIES: usize = 200_000;
/// Most ended entries remembered per source.
const MAX_ENDED: usize = 65_536;

/// A source is one line: the variant, and its name in `mtls status` and in `docs/names.md`.
macro_rules! sources {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal,)*) => {
        /// Sources of names, in order of precedence for the same address.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Source {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Source {
            /// All of them, by precedence.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in `mtls status`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

sources! {
    /// The container runtime, which assigned the addresses on this node.
    Cri "cri",
    /// The Kubernetes API: pods.
    Kubernetes "kubernetes",
    /// A file.
    File "file",
    /// Named network namespaces.
    Netns "netns",
    /// The Kubernetes API: Services and their endpoints.
    Services "services",
    /// The node itself.
    Node "node",
    /// The Kubernetes API: namespaces, which have no addresses but influence meshes.
    Namespaces "namespaces",
    /// The Kubernetes API: policies of meshes, which have no addresses either.
    Policies "policies",
}

#[derive(Debug, Default)]
struct Known {
    /// The current entries, and since when.
    holding: HashMap<Arc<Entry>, u64>,
    ended: Vec<Ended>,
    updated: u64,
    error: Option<String>,
}

/// A pod of this node with a network of its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LocalPod {
    /// Its namespace.
    pub namespace: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// The host's ends of its interfaces, as far as known.
    pub links: Vec<u32>,
}

#[derive(Debug)]
struct Ended {
    entry: Arc<Entry>,
    from: u64,
    until: u64,
}

/// Names for addresses.
#[derive(Debug, Default)]
pub struct Directory {
    sources: Mutex<BTreeMap<Source, Known>>,
    snapshot: ArcSwap<Snapshot>,
    declared: ArcSwap<Declarations>,
    /// Whether plaintext DNS counts as any other plaintext.
    judges_dns: AtomicBool,
    /// The previous snapshot. A lookup holds a snapshot for a moment, and must not be the last
    /// holder: freeing the snapshot of a large cluster takes milliseconds.
    retired: Mutex<Arc<Snapshot>>,
    /// Interfaces of the host by index, for notes about those without an owner.
    interfaces: RwLock<HashMap<u32, SmolStr>>,
    /// Which of them an address is behind, according to the node's own tables.
    behind: Mutex<HashMap<IpAddr, u32>>,
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The operator's exemptions.
    pub fn declared(&self) -> Arc<Declarations> {
        self.declared.load_full()
    }

    /// Replaces the operator's exemptions.
    pub fn declare(&self, declared: Declarations) {
        self.declared.store(Arc::new(declared));
    }

    /// Whether plaintext DNS is exempt, which is the default unless [`Self::judge_dns`] was called.
    pub fn exempts_dns(&self) -> bool {
        !self.judges_dns.load(Ordering::Relaxed)
    }

    /// Makes DNS count like all other traffic.
    pub fn judge_dns(&self) {
        self.judges_dns.store(true, Ordering::Relaxed);
    }

    /// `source` has exactly these entries as of `now` (nanoseconds since the Unix epoch).
    pub fn publish<E: Into<Arc<Entry>>>(
        &self,
        source: Source,
        entries: impl IntoIterator<Item = E>,
        now: u64,
    ) {
        let entries: HashSet<Arc<Entry>> = entries
            .into_iter()
            .take(MAX_ENTRIES)
            .map(Into::into)
            .collect();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.entry(source).or_default();
        let changed = known.replace(entries, now);
        let recovered = known.error.take().is_some();
        known.updated = now;
        if changed || recovered {
            self.rebuild(&sources);
        }
    }

    /// `source` was queried and had nothing new.
    pub fn confirm(&self, source: Source, now: u64) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.entry(source).or_default();
        known.updated = now;
        if known.error.take().is_some() {
            self.rebuild(&sources);
        }
    }

    /// `source` cannot be reached: its previous entries remain, marked as stale.
    pub fn fail(&self, source: Source, error: String) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.entry(source).or_default();
        if known.error.replace(error).is_none() {
            self.rebuild(&sources);
        }
    }

    fn rebuild(&self, sources: &BTreeMap<Source, Known>) {
        let generation = self.generation() + 1;
        let by_pod = by_pod(sources);
        let claims = sources
            .iter()
            .flat_map(|(source, known)| known.claims(*source))
            .map(|mut claim| {
                let others = others(&claim, &by_pod);
                if !others.is_empty() {
                    claim.entry = Arc::new(merge::merged(&claim.entry, claim.source, &others));
                }
                claim
            });
        let new = Arc::new(Snapshot::new(generation, claims));
        let old = self.snapshot.swap(new);
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        *retired = old;
    }

    /// An interface of the host has this name from now on, or is gone.
    pub fn name_interface(&self, link: u32, name: Option<&str>) {
        let mut names = self
            .interfaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => drop(names.insert(link, name.into())),
            None => drop(names.remove(&link)),
        }
    }

    /// The name of an interface, unless the map is locked at the moment: nothing waits for it.
    fn interface(&self, link: u32) -> Option<SmolStr> {
        self.interfaces.try_read().ok()?.get(&link).cloned()
    }

    /// Sets which addresses are behind which interfaces of the node. Earlier entries remain as long
    /// as their interface exists: neighbours are forgotten sooner.
    pub fn place(&self, behind: impl IntoIterator<Item = (IpAddr, u32)>) {
        let interfaces = self.interfaces.read();
        let interfaces = interfaces.unwrap_or_else(PoisonError::into_inner);
        let mut known = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, link| interfaces.contains_key(link));
        let new = behind.into_iter();
        known.extend(new.filter(|(_, link)| interfaces.contains_key(link)));
    }

    /// The pods of `node` with a network of their own, and which of the node's interfaces belong to
    /// them. The runtime and the Kubernetes API list the pods; if only the API does, the node's own
    /// tables provide the interfaces.
    pub fn local_pods(&self, node: &str) -> Vec<LocalPod> {
        let mut pods: HashMap<(SmolStr, SmolStr), Vec<u32>> = HashMap::new();
        {
            let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
            let has_own = |entry: &Entry| {
                let is_up = entry.ports.is_empty() && !entry.addresses.is_empty();
                is_up && !entry.facts.host_network
            };
            for entry in self.pods_of(node).iter().filter(|entry| has_own(entry)) {
                let links = entry.addresses.iter().filter_map(|ip| behind.get(ip));
                pods.entry(of(entry)).or_default().extend(links);
            }
        }
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for known in sources.values() {
            let entries = known.holding.keys();
            for entry in entries.filter(|entry| !entry.links.is_empty()) {
                if entry.workload.pod.is_some() {
                    pods.entry(of(entry)).or_default().extend(&entry.links);
                }
            }
        }
        let pod = |((namespace, name), mut links): (_, Vec<u32>)| {
            links.sort_unstable();
            links.dedup();
            LocalPod {
                namespace,
                name,
                links,
            }
        };
        pods.into_iter().map(pod).collect()
    }

    /// Addresses of the pods of `node` of which no interface is known.
    pub fn unplaced(&self, node: &str) -> Vec<IpAddr> {
        let pods = self.local_pods(node);
        let unplaced = pods.iter().filter(|pod| pod.links.is_empty());
        let unplaced: HashSet<_> = unplaced.map(|pod| (&pod.namespace, &pod.name)).collect();
        let pods = self.pods_of(node);
        let own = pods.iter().filter(|entry| {
            let (namespace, name) = of(entry);
            entry.ports.is_empty() && unplaced.contains(&(&namespace, &name))
        });
        own.flat_map(|entry| entry.addresses.clone()).collect()
    }

    /// The pods of a node, according to the Kubernetes API.
    pub fn pods_of(&self, node: &str) -> Vec<Arc<Entry>> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.get(&Source::Kubernetes);
        let entries = known.into_iter().flat_map(|known| known.holding.keys());
        let own = |entry: &&Arc<Entry>| {
            entry.workload.pod.is_some() && entry.facts.node.as_deref() == Some(node)
        };
        entries.filter(own).cloned().collect()
    }

    /// The owner of `ip`, or of `port` on it, at `time` (nanoseconds since the Unix epoch).
    pub fn find(&self, ip: IpAddr, port: u16, time: u64) -> Option<Found> {
        self.snapshot.load().find(ip, port, time)
    }

    /// The owner of an interface of the host.
    pub fn find_link(&self, link: u32, time: u64) -> Option<Found> {
        self.snapshot.load().find_link(link, time)
    }

    /// Like [`Self::find`]; an address without an owner is named by itself.
    pub fn name(&self, ip: IpAddr, port: u16, time: u64) -> Workload {
        self.find(ip, port, time)
            .map_or_else(|| snapshot::nameless(ip), |found| found.workload(time))
    }

    /// Increases whenever a name may have changed.
    pub fn generation(&self) -> u64 {
        self.snapshot.load().generation()
    }

    /// Each source's state.
    pub fn health(&self) -> Vec<SourceHealth> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources
            .iter()
            .map(|(source, known)| SourceHealth {
                name: source.as_str().into(),
                entries: known.holding.len(),
                updated: (known.updated > 0).then(|| Time::from_nanos(known.updated)),
                error: known.error.clone(),
            })
            .collect()
    }
}

impl Known {
    /// Sets the current entries; returns whether anything changed.
    fn replace(&mut self, entries: HashSet<Arc<Entry>>, now: u64) -> bool {
        let ended = &mut self.ended;
        let before = ended.len();
        ended.retain(|ended| now < ended.until.saturating_add(GRACE.as_nanos() as u64));
        let mut changed = ended.len() != before;
        self.holding.retain(|entry, from| {
            let holds = entries.contains(entry);
            if !holds {
                changed = true;
                ended.push(Ended {
                    entry: entry.clone(),
                    from: *from,
                    until: now,
                });
            }
            holds
        });
        ended.drain(..ended.len().saturating_sub(MAX_ENDED));
        for entry in entries {
            let from = entry.since.unwrap_or(now).min(now);
            self.holding.entry(entry).or_insert_with(|| {
                changed = true;
                from
            });
        }
        changed
    }

    fn claims(&self, source: Source) -> impl Iterator<Item = Claim> {
        let stale = self.error.is_some().then_some(self.updated);
        let claim = move |entry: &Arc<Entry>, from, until| Claim {
            entry: entry.clone(),
            from,
            until,
            source,
            stale,
        };
        let holding = self
            .holding
            .iter()
            .map(move |(entry, from)| claim(entry, *from, u64::MAX));
        let ended = self
            .ended
            .iter()
            .map(move |ended| claim(&ended.entry, ended.from, ended.until));
        holding.chain(ended)
    }
}

/// Its namespace, and its name there.
fn of(entry: &Entry) -> (SmolStr, SmolStr) {
    let pod = entry.workload.pod.clone();
    (entry.workload.namespace.clone(), pod.unwrap_or_default())
}

type ByPod<'a> = HashMap<(&'a str, &'a str), SmallVec<[(Source, &'a Entry); 2]>>;

/// What is known about each current pod, followed by ended ones; empty if there is only one source,
/// so that there is nothing to merge.
fn by_pod(sources: &BTreeMap<Source, Known>) -> ByPod<'_> {
    let mut map = ByPod::new();
    let has_pods = |known: &Known| known.holding.keys().any(|e| e.workload.pod.is_some());
    if sources.values().filter(|known| has_pods(known)).count() < 2 {
        return map;
    }
    for (source, known) in sources {
        let ended = known.ended.iter().rev().map(|ended| &ended.entry);
        for entry in known.holding.keys().chain(ended) {
            if let Some(pod) = &entry.workload.pod {
                let key = (entry.workload.namespace.as_str(), pod.as_str());
                map.entry(key).or_default().push((*source, entry));
            }
        }
    }
    map
}

/// What other sources know about the pod of a claim.
fn others<'a>(claim: &Claim, by_pod: &ByPod<'a>) -> SmallVec<[(Source, &'a Entry); 2]> {
    let Some(pod) = &claim.entry.workload.pod else {
        return SmallVec::new();
    };
    let Some(list) = by_pod.get(&(claim.entry.workload.namespace.as_str(), pod.as_str())) else {
        return SmallVec::new();
    };
    list.iter()
        .filter(|(source, other)| *source != claim.source && merge::same_pod(&claim.entry, other))
        .copied()
        .collect()
}
