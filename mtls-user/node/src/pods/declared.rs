//! The exemptions that an operator declares in a file:
//!
//! ```yaml
//! exemptions:
//!   - namespace: shop
//!     workload: legacy-db
//!     port: 6379
//!     reason: moves to TLS with ticket 4711
//!     until: 2027-03-31
//! ```
//!
//! `namespace`, `workload` and `port` refer to the server; omitted fields match anything. An
//! exemption is valid until the end of the day `until`, in UTC, or until that time; without it, it
//! does not expire.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use smol_str::SmolStr;

use mtls_core::record::{Declared, FlowRecord, Time};

/// Most exemptions accepted; each is checked for every flow that is not otherwise exempt.
const MAX: usize = 1_000;
/// Largest file accepted, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// All exemptions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Declarations(Vec<Declared>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    exemptions: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    namespace: Option<SmolStr>,
    workload: Option<SmolStr>,
    port: Option<u16>,
    reason: SmolStr,
    until: Option<String>,
}

impl Declarations {
    /// Reads a file of exemptions.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let size = std::fs::metadata(path)
            .with_context(|| format!("read the exemptions in {shown}"))?
            .len();
        ensure!(
            size <= MAX_FILE,
            "{shown}: a file of exemptions has at most {MAX_FILE} bytes"
        );
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read the exemptions in {shown}"))?;
        Self::parse(&text).with_context(|| format!("read the exemptions in {shown}"))
    }

    /// Reads the text of such a file.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let document: Document = crate::yaml::read(text)?;
        ensure!(
            document.exemptions.len() <= MAX,
            "more than {MAX} exemptions"
        );
        let declared = document.exemptions.into_iter().enumerate();
        let declared = declared.map(|(at, line)| {
            line.declared()
                .with_context(|| format!("exemption {}", at + 1))
        });
        declared.collect::<anyhow::Result<_>>().map(Self)
    }

    /// The one that applies to `record` at `now`.
    pub(super) fn find(&self, record: &FlowRecord, now: Time) -> Option<&Declared> {
        let mut all = self.0.iter();
        all.find(|one| covers(one, record) && !is_over(one, now))
    }

    /// One that would apply if it had not expired.
    pub(super) fn find_expired(&self, record: &FlowRecord, now: Time) -> Option<&Declared> {
        let mut all = self.0.iter();
        all.find(|one| covers(one, record) && is_over(one, now))
    }

    /// All of them, with whether they have expired at `now`.
    pub fn list(&self, now: Time) -> Vec<Declared> {
        let all = self.0.iter().cloned();
        all.map(|one| Declared {
            expired: is_over(&one, now),
            ..one
        })
        .collect()
    }
}

impl Line {
    fn declared(self) -> anyhow::Result<Declared> {
        if self.namespace.is_none() && self.workload.is_none() && self.port.is_none() {
            bail!("it says neither namespace, workload nor port, and would exempt everything");
        }
        ensure!(!self.reason.trim().is_empty(), "its reason is empty");
        let until = self.until.as_deref().map(|text| {
            let day = || Time::parse(&format!("{text}T23:59:59.999999999Z"));
            let until = Time::parse(text).or_else(day);
            until.with_context(|| {
                format!("until: {text:?} is neither a day (2027-03-31) nor a time (2027-03-31T18:00:00Z)")
            })
        });
        Ok(Declared {
            namespace: self.namespace,
            workload: self.workload,
            port: self.port,
            reason: self.reason,
            until: until.transpose()?,
            expired: false,
        })
    }
}

fn covers(one: &Declared, record: &FlowRecord) -> bool {
    let server = &record.dst;
    let who = server.workload.as_ref();
    let is_named =
        |name: &SmolStr| who.is_some_and(|who| who.name == *name || who.pod.as_ref() == Some(name));
    one.namespace
        .as_deref()
        .is_none_or(|namespace| server.namespace() == Some(namespace))
        && one.workload.as_ref().is_none_or(is_named)
        && one.port.is_none_or(|port| server.port == Some(port))
}

fn is_over(one: &Declared, now: Time) -> bool {
    one.until.is_some_and(|until| until < now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::{Peer, Workload};

    fn to(namespace: &str, name: &str, port: u16) -> FlowRecord {
        FlowRecord {
            dst: Peer {
                ip: None,
                port: Some(port),
                workload: Some(Workload {
                    name: name.into(),
                    namespace: namespace.into(),
                    ..Workload::default()
                }),
            },
            ..FlowRecord::default()
        }
    }

    #[test]
    fn a_declaration_holds_for_what_it_names_until_its_day_is_over() {
        let declared = Declarations::parse(
            "exemptions:\n- {namespace: shop, workload: db, port: 6379, reason: old, until: 2027-03-31}\n- {port: 53, reason: dns}\n",
        )
        .unwrap();
        let at = |time| Time::parse(time).unwrap();
        let last = at("2027-03-31T23:59:59Z");
        let over = at("2027-04-01T00:00:00Z");
        let db = to("shop", "db", 6379);
        assert_eq!(declared.find(&db, last).unwrap().reason, "old");
        assert!(declared.find(&db, over).is_none());
        assert_eq!(declared.find_expired(&db, over).unwrap().reason, "old");
        assert!(declared.find(&to("shop", "db", 6380), last).is_none());
        assert!(declared.find(&to("evil", "db", 6379), last).is_none());
        assert!(declared.find(&to("", "10.0.0.1", 53), over).is_some());
        let expired: Vec<_> = declared.list(over).iter().map(|one| one.expired).collect();
        assert_eq!(expired, [true, false]);
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for (text, why) in [
            ("exemptions: [{reason: all}]", "would exempt everything"),
            ("exemptions: [{port: 1, reason: ' '}]", "reason is empty"),
            (
                "exemptions: [{port: 1, reason: x, until: tomorrow}]",
                "neither a day",
            ),
            ("exemptions: [{port: 1}]", "reason"),
            ("exemptions: [{prot: 1, reason: x}]", "prot"),
            (
                "exemptions: [{port: 70000, reason: x}]",
                "line 1, column 21",
            ),
            ("- port: 1", ""),
        ] {
            let error = format!("{:#}", Declarations::parse(text).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
