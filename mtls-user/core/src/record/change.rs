//! The output of `mtls diff`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::word::vocabulary;
use super::{EdgeRecord, SCHEMA, Word};

vocabulary! {
    /// How an edge differs between two answers.
    Change {
        /// It exists in both, and is worse.
        Worse = "worse",
        /// It did not exist before.
        New = "new",
        /// It exists in both, and is better.
        Better = "better",
        /// It no longer exists.
        Gone = "gone",
    }
}

/// An edge that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EdgeChange {
    /// Version of the schema.
    #[serde(default)]
    pub schema: u32,
    /// How it differs.
    pub change: Word<Change>,
    /// The earlier edge; null if it is new.
    #[serde(default)]
    pub before: Option<EdgeRecord>,
    /// The later edge; null if it is gone.
    #[serde(default)]
    pub after: Option<EdgeRecord>,
}

impl EdgeChange {
    /// How an edge differs that exists before or after; `None` if it does not.
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

/// The worst first: by the mark, then by the verdict; exempt traffic does not matter.
fn rank(edge: &EdgeRecord) -> impl Ord + use<> {
    (edge.mark.is_none(), edge.mark.clone(), edge.verdict.clone())
}
