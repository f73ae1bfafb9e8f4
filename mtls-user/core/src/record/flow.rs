//! One flow: printed by `mtls classify`, streamed by `mtls tap`, and passed to every sink of the
//! daemon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    Cause, EdgeKey, Event, Evidence, Exempt, Expected, HttpInfo, Mark, Origin, Outcome, Peer,
    Reporter, SCHEMA, Side, Time, TlsInfo, Transport, Unmet, Unseen, Verdict, Word,
};

/// Bytes of payload per direction, from sequence numbers; null if that cannot be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bytes {
    /// From the client to the server.
    pub client: Option<u64>,
    /// From the server to the client.
    pub server: Option<u64>,
}

/// Why a flow does not count towards its edge.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Exemption {
    /// The class.
    pub class: Word<Exempt>,
    /// The operator's reason, for a declared exemption.
    #[serde(default)]
    pub reason: Option<SmolStr>,
    /// The end of a declared exemption; null if it does not expire.
    #[serde(default)]
    pub until: Option<Time>,
}

impl From<Exempt> for Exemption {
    fn from(class: Exempt) -> Self {
        Self {
            class: class.into(),
            reason: None,
            until: None,
        }
    }
}

/// What was expected of a flow, compared with what was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// What was expected; null if nothing is.
    #[serde(default)]
    pub expected: Option<Word<Expected>>,
    /// How what was seen compares.
    pub outcome: Word<Outcome>,
    /// Why it was expected, or why it was not met, as far as that can be determined.
    #[serde(default)]
    pub cause: Option<Word<Unmet>>,
    /// The same in a sentence.
    #[serde(default)]
    pub reason: Option<SmolStr>,
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            expected: None,
            outcome: Outcome::NothingExpected.into(),
            cause: None,
            reason: None,
        }
    }
}

/// An identity that does not match the pod where it was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Mismatch {
    /// The side whose identity it is.
    pub side: Word<Side>,
    /// The identity that was seen.
    pub seen: SmolStr,
    /// The pod's own identity.
    pub expected: SmolStr,
    /// The pod.
    pub pod: SmolStr,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "identity-mismatch: {} is {}, expected {} (pod {})",
            self.side, self.seen, self.expected, self.pod
        )
    }
}

/// Both ends of one half of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ends {
    /// The client's address and port.
    pub src: std::net::SocketAddr,
    /// The server's.
    pub dst: std::net::SocketAddr,
}

/// One flow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FlowRecord {
    /// Version of the schema.
    pub schema: u32,
    /// What happened to it; null in the output of `mtls classify`, which reports the end of every
    /// flow.
    #[serde(default)]
    pub event: Option<Word<Event>>,
    /// The node that saw it; null in the output of `mtls classify`.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// The capture that it comes from, if several were read.
    #[serde(default)]
    pub file: Option<SmolStr>,
    /// The connection's number, the same in all of its events for as long as the daemon runs.
    #[serde(default)]
    pub connection: Option<u64>,
    /// The connection's identity on every interface and node that it crosses: 16 hexadecimal
    /// digits, a digest of both initial sequence numbers. Null if the start was not seen.
    #[serde(default)]
    pub id: Option<SmolStr>,
    /// The end at which it was seen; null if that cannot be determined, as in a capture.
    #[serde(default)]
    pub reporter: Option<Word<Reporter>>,
    /// The transport protocol.
    #[serde(default)]
    pub transport: Word<Transport>,
    /// The client.
    pub src: Peer,
    /// The server.
    pub dst: Peer,
    /// The address that the client connected to, if it is not the server's own: a Service's.
    #[serde(default)]
    pub service: Option<std::net::SocketAddr>,
    /// What the flow is.
    pub verdict: Word<Verdict>,
    /// How the verdict is known; null for `no-data` and `unobserved`.
    #[serde(default)]
    pub evidence: Option<Word<Evidence>>,
    /// Why it has that verdict, as a word.
    #[serde(default)]
    pub cause: Word<Cause>,
    /// Why it has that verdict, as a sentence.
    pub reason: SmolStr,
    /// Why it does not count towards its edge; null if it does.
    #[serde(default)]
    pub exempt: Option<Exemption>,
    /// What was expected of it; null if that was not determined, as in a capture.
    #[serde(default)]
    pub expectation: Option<Expectation>,
    /// `tls`, `http/1.1`, `postgresql`, …; `unknown`.
    pub protocol: SmolStr,
    /// Whether the start was seen.
    #[serde(default)]
    pub origin: Word<Origin>,
    /// Whether samples of it were, or may have been, lost.
    #[serde(default)]
    pub lost: bool,
    /// What the handshake contained.
    #[serde(default)]
    pub tls: Option<Box<TlsInfo>>,
    /// What plaintext HTTP contained.
    #[serde(default)]
    pub http: Option<HttpInfo>,
    /// Payload bytes.
    #[serde(default)]
    pub bytes: Bytes,
    /// The first packet seen.
    pub first_seen: Time,
    /// The last packet seen (for a flow sampled in the kernel: the last sample).
    pub last_seen: Time,
    /// Whether the end of the connection was seen.
    #[serde(default)]
    pub closed: bool,
    /// Indexes of the node's interfaces where it was seen.
    #[serde(default)]
    pub links: Vec<u32>,
    /// What was not seen of it; empty if everything that the verdict requires was seen.
    #[serde(default)]
    pub unseen: Vec<Word<Unseen>>,
    /// The ends of both halves, if the connection's addresses are translated on the way; of a QUIC
    /// connection whose client has moved, the earlier ends.
    #[serde(default)]
    pub halves: Vec<Ends>,
    /// Identities that do not match the pods where they were seen.
    #[serde(default)]
    pub mismatches: Vec<Mismatch>,
    /// Observations for an operator that do not change the verdict: a word, a colon, a sentence.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Default for FlowRecord {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            event: None,
            node: None,
            file: None,
            connection: None,
            id: None,
            reporter: None,
            transport: Transport::Tcp.into(),
            src: Peer::default(),
            dst: Peer::default(),
            service: None,
            verdict: Verdict::Unobserved.into(),
            evidence: None,
            cause: Cause::NotDecided.into(),
            reason: SmolStr::default(),
            exempt: None,
            expectation: None,
            protocol: SmolStr::new_static("unknown"),
            origin: Origin::Midstream.into(),
            lost: false,
            tls: None,
            http: None,
            bytes: Bytes::default(),
            first_seen: Time::default(),
            last_seen: Time::default(),
            closed: false,
            links: Vec::new(),
            unseen: Vec::new(),
            halves: Vec::new(),
            mismatches: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl FlowRecord {
    /// Whether everything was seen, from the connection's start to now.
    pub fn is_complete(&self) -> bool {
        let all = self.origin == Origin::Syn && !self.lost && self.unseen.is_empty();
        all && self.verdict != Verdict::Unobserved
    }

    /// The edge that it belongs to.
    pub fn edge_key(&self) -> EdgeKey {
        EdgeKey::between(&self.src, &self.dst, &self.transport)
    }

    /// What the flow amounts to by itself; `None` if it is exempt, or exposed nothing because its
    /// handshake failed.
    pub fn mark(&self) -> Option<Mark> {
        match self.exempt {
            Some(_) => None,
            None => Mark::of(&self.verdict, &self.cause, self.is_complete()),
        }
    }
}

impl Mark {
    /// What a connection with this verdict and cause amounts to; a password in cleartext counts
    /// more than what was encrypted after it. `None` if it exposed nothing because its handshake
    /// failed. `complete`: it was seen from its start, and nothing of it was lost.
    pub fn of(verdict: &Word<Verdict>, cause: &Word<Cause>, complete: bool) -> Option<Self> {
        Some(match verdict.known() {
            _ if *cause == Cause::SecretInClear => Self::Clear,
            Some(Verdict::Plaintext) => Self::Clear,
            Some(Verdict::Tls) => Self::OneWay,
            Some(Verdict::Mtls) if complete => Self::Mutual,
            Some(Verdict::Failed) => return None,
            // This version cannot vouch for a verdict of a later one.
            _ => Self::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mutual_flow_that_was_seen_whole_has_the_good_mark() {
        let flow = |verdict: Verdict, origin: Origin, lost| {
            let flow = FlowRecord {
                verdict: verdict.into(),
                origin: origin.into(),
                lost,
                ..FlowRecord::default()
            };
            flow.mark()
        };
        assert_eq!(flow(Verdict::Mtls, Origin::Syn, false), Some(Mark::Mutual));
        assert_eq!(flow(Verdict::Mtls, Origin::Syn, true), Some(Mark::Unknown));
        let late = flow(Verdict::Mtls, Origin::Midstream, false);
        assert_eq!(late, Some(Mark::Unknown));
        for verdict in Verdict::ALL {
            let good = flow(verdict, Origin::Syn, false) == Some(Mark::Mutual);
            assert_eq!(good, verdict == Verdict::Mtls, "{verdict}");
        }
        assert_eq!(
            Mark::of(
                &Word::Other("quantum-safe".into()),
                &Cause::Other.into(),
                true
            ),
            Some(Mark::Unknown)
        );
    }

    #[test]
    fn a_password_in_clear_counts_more_than_what_was_encrypted_after_it() {
        for verdict in Verdict::ALL {
            let mark = Mark::of(&verdict.into(), &Cause::SecretInClear.into(), true);
            assert_eq!(mark, Some(Mark::Clear), "{verdict}");
        }
    }

    #[test]
    fn an_old_reader_reads_a_new_record() {
        let mut json = serde_json::to_value(FlowRecord::default()).unwrap();
        json["verdict"] = "quantum-safe".into();
        json["transport"] = "sctp".into();
        json["news"] = serde_json::json!({"of": ["a later", "version"]});
        let read: FlowRecord = serde_json::from_value(json).unwrap();
        assert_eq!(read.verdict.as_str(), "quantum-safe");
        assert_eq!(read.transport.as_str(), "sctp");
    }
}
