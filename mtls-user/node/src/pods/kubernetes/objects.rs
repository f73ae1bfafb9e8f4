//! The objects of one kind, as reported by a watch.

use std::collections::BTreeMap;

use super::change::Change;

/// All known objects, by `NAMESPACE/NAME`.
pub(super) struct Objects<T> {
    pub(super) all: BTreeMap<String, T>,
    /// Whether they were listed: then objects that are not included do not exist.
    pub(super) listed: bool,
    /// Why they cannot be listed or watched at the moment.
    pub(super) error: Option<String>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            listed: false,
            error: None,
        }
    }
}

impl<T> Objects<T> {
    /// Applies a change; returns whether the objects differ afterwards.
    pub(super) fn take(&mut self, change: Change<T>) -> bool {
        match change {
            Change::All(all) => {
                self.all = all.into_iter().collect();
                self.listed = true;
            }
            Change::Apply(key, object) => {
                if self.all.len() < crate::pods::MAX_ENTRIES || self.all.contains_key(&key) {
                    self.all.insert(key, object);
                }
            }
            Change::Delete(key) => {
                self.all.remove(&key);
            }
            Change::Alive => {
                self.error = None;
                return false;
            }
            Change::Failed(error) => {
                self.error = Some(error);
                return false;
            }
        }
        self.error = None;
        true
    }

    /// Those of one namespace.
    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = &T> {
        let prefix = format!("{namespace}/");
        self.all
            .range(prefix.clone()..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object)
    }
}
