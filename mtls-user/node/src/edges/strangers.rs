//! Ends that no source of names knows: a pod can invent any number of them.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mtls_core::record::{Kind, Word, Workload};

use super::{Ends, Key};

/// Edges of one workload with unknown ends that are kept apart. The rest become one edge for all
/// unknown ends of a kind and all ports, whose worst connection determines its verdict as usual.
pub(super) const MOST: u32 = 1_024;

/// The number of edges with unknown ends of each workload.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    hasher: RandomState,
    of: HashMap<u64, u32>,
}

impl Strangers {
    /// The edge that is counted instead of a new one between these ends, if their workload has
    /// reached the limit.
    pub(super) fn fold(&self, ends: Ends<'_>) -> Option<(Key, Workload, Workload)> {
        let own = self.own(ends)?;
        if self.of.get(&own).is_none_or(|count| *count < MOST) {
            return None;
        }
        let (key, src, dst) = ends;
        let key = Key {
            port: 0,
            ..key.clone()
        };
        Some((key, all_like(src), all_like(dst)))
    }

    /// An edge is new.
    pub(super) fn enter(&mut self, ends: Ends<'_>) {
        if let Some(own) = self.own(ends) {
            *self.of.entry(own).or_default() += 1;
        }
    }

    /// An edge is gone.
    pub(super) fn leave(&mut self, ends: Ends<'_>) {
        let Some(own) = self.own(ends) else { return };
        if let Some(count) = self.of.get_mut(&own) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&own);
            }
        }
    }

    /// The workload to which an edge with an unknown end belongs, as a number. Edges between two
    /// unknown ends belong to none, and are counted together.
    fn own(&self, (_, src, dst): Ends<'_>) -> Option<u64> {
        let own = match (is_stranger(src), is_stranger(dst)) {
            (false, false) => return None,
            (true, false) => Some((false, dst)),
            (false, true) => Some((true, src)),
            (true, true) => None,
        };
        let own = own.map(|(is_client, who)| (is_client, &who.namespace, &who.name, &who.kind));
        let mut state = self.hasher.build_hasher();
        own.hash(&mut state);
        Some(std::hash::Hasher::finish(&state))
    }
}

fn is_stranger(end: &Workload) -> bool {
    matches!(end.kind, Word::Known(Kind::External | Kind::Unknown))
}

/// Merges all unknown ends of a kind; a workload is unchanged.
fn all_like(end: &Workload) -> Workload {
    if !is_stranger(end) {
        return end.clone();
    }
    Workload {
        name: end.kind.as_str().into(),
        kind: end.kind.clone(),
        ..Workload::default()
    }
}
