//! Ends that no source of names knows: there are as many as anybody cares to invent.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mtls_core::record::{Kind, Word, Workload};

use super::{Ends, Key};

/// Edges of one workload with strangers that are kept apart. What is beyond is one edge, with all
/// strangers of a kind and all ports, which the worst connection names like any other.
pub(super) const MOST: u32 = 1_024;

/// How many edges with strangers each workload has.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    hasher: RandomState,
    of: HashMap<u64, u32>,
}

impl Strangers {
    /// The edge that is counted in place of a new one between these, where their workload has as many
    /// as are kept apart.
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

    /// Which workload an edge with a stranger belongs to, as a number. Those between two strangers
    /// belong to nobody, and are counted together.
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

/// All strangers of a kind; a workload stays what it is.
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
