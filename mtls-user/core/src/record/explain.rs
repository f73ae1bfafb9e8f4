//! The output of `mtls explain`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EdgeRecord, FlowRecord, SCHEMA, Time, Verdict, Word};

/// Why an edge, or a connection, has its verdict.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Version of the schema.
    pub schema: u32,
    /// When it was made.
    pub generated: Time,
    /// The verdict that is explained; null if every connection is exempt.
    pub verdict: Option<Word<Verdict>>,
    /// The explanation in one sentence.
    pub summary: String,
    /// The evidence, step by step.
    pub evidence: Vec<String>,
    /// What was not seen of it.
    pub not_seen: Vec<String>,
    /// What would change the verdict.
    pub would_change: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
    /// The edge; null if a connection was requested.
    #[serde(default)]
    pub edge: Option<EdgeRecord>,
    /// The connection that the evidence belongs to: the worst of the edge, and the latest of
    /// several such; null if none is remembered.
    #[serde(default)]
    pub flow: Option<Box<FlowRecord>>,
}

impl Default for Explanation {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            generated: Time::default(),
            verdict: None,
            summary: String::new(),
            evidence: Vec::new(),
            not_seen: Vec::new(),
            would_change: Vec::new(),
            next: Vec::new(),
            edge: None,
            flow: None,
        }
    }
}
