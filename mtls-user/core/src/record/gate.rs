//! The output of `mtls check`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::word::vocabulary;
use super::{NamespaceCoverage, Peer, SCHEMA, Time, Transport, Verdict, Watched, Word};

vocabulary! {
    /// The result of a check.
    Gate {
        /// Everything that was seen meets the rules, and enough was seen.
        Pass = "pass",
        /// Something breaks a rule.
        Violation = "violation",
        /// Nothing breaks a rule, but not enough was seen to say that all is well.
        NotEnough = "not-enough",
    }
}

vocabulary! {
    /// What a finding comes to.
    Level {
        /// It breaks a rule.
        Violation = "violation",
        /// Whether it breaks a rule cannot be determined.
        Undecided = "undecided",
        /// It would break a rule, and is exempted from it.
        Exempted = "exempted",
    }
}

vocabulary! {
    /// The kind of a finding.
    Finding {
        /// Something went in clear.
        Plaintext = "plaintext",
        /// Something that is neither TLS nor known.
        NotTls = "not-tls",
        /// The client was not authenticated.
        OneWay = "one-way",
        /// The TLS version is below the least that is allowed.
        OldTls = "old-tls",
        /// The ends may not talk at all.
        Denied = "denied",
        /// What it is was not seen, or not from its start.
        NotSeen = "not-seen",
    }
}

/// One finding: an edge, and what is wrong with it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GateFinding {
    /// The severity.
    pub level: Word<Level>,
    /// Its kind.
    pub finding: Word<Finding>,
    /// The clients.
    pub src: Peer,
    /// The servers, and the port.
    pub dst: Peer,
    /// What carries it.
    pub transport: Word<Transport>,
    /// How many connections; null if that is not known.
    #[serde(default)]
    pub connections: Option<u64>,
    /// Their verdict; null if the finding is not about one.
    #[serde(default)]
    pub verdict: Option<Word<Verdict>>,
    /// What is wrong, in a sentence.
    pub reason: String,
    /// Why it is exempted, if it is.
    #[serde(default)]
    pub exemption: Option<String>,
    /// When such a connection was last seen.
    pub last_seen: Time,
}

/// The answer of `mtls check`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GateReport {
    /// Version of the schema.
    pub schema: u32,
    /// The node; null if there are several or none.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// When it was made.
    pub generated: Time,
    /// The result.
    pub outcome: Word<Gate>,
    /// Edges that were checked.
    pub edges: u64,
    /// Connections that were checked, without exempt ones.
    pub connections: u64,
    /// Seconds of traffic that it covers.
    pub seconds: u64,
    /// How much could be seen; null for a capture.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// With `--strict-ready`: how much of the servers' namespaces was watched, and since when; empty
    /// if no daemon reported it.
    #[serde(default)]
    pub namespaces: Vec<NamespaceCoverage>,
    /// Why not enough was seen; empty if enough was.
    pub not_enough: Vec<String>,
    /// What was found, violations first.
    pub items: Vec<GateFinding>,
}

impl Default for GateReport {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            node: None,
            generated: Time::default(),
            outcome: Gate::NotEnough.into(),
            edges: 0,
            connections: 0,
            seconds: 0,
            watched: None,
            namespaces: Vec::new(),
            not_enough: Vec::new(),
            items: Vec::new(),
        }
    }
}
