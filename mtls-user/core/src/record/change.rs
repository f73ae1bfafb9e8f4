//! What `mtls diff` says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::word::vocabulary;
use super::{EdgeRecord, SCHEMA, Word};

vocabulary! {
    /// How an edge differs between two answers.
    Change {
        /// It is there, and worse.
        Worse = "worse",
        /// It was not there before.
        New = "new",
        /// It is there, and better.
        Better = "better",
        /// It is there no more.
        Gone = "gone",
    }
}

/// An edge that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EdgeChange {
    /// Version of the schema.
    #[serde(default)]
    pub schema: u32,
    /// How.
    pub change: Word<Change>,
    /// As it was; null of a new one.
    #[serde(default)]
    pub before: Option<EdgeRecord>,
    /// As it is; null of one that is gone.
    #[serde(default)]
    pub after: Option<EdgeRecord>,
}

impl EdgeChange {
    /// How an edge differs, which is there before or after; `None` where it does not.
    pub fn of(before: Option<&EdgeRecord>, after: Option<&EdgeRecord>) -> Option<Self> {
        let change = match (before, after) {
            (None, None) => return None,
            (None, Some(_)) => Change::New,
            (Some(_), None) => Change::Gone,
            (Some(before), Some(after)) => match rank(after).cmp(&rank(before)) {
                std::cmp::Ordering::Less => Change::Worse,
                std::cmp::Ordering::Equal => return None,
                std::cmp::Ordering::Greater => Change::Better,
            },
        };
        Some(Self {
            schema: SCHEMA,
            change: change.into(),
            before: before.cloned(),
            after: after.cloned(),
        })
    }
}

/// The worst first: by the mark, then by the verdict; what is exempt is no worry.
fn rank(edge: &EdgeRecord) -> impl Ord + use<> {
    (edge.mark.is_none(), edge.mark.clone(), edge.verdict.clone())
}
