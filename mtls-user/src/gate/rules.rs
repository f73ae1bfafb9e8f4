//! Who may talk how: the rules of `mtls check`, from flags and from a file.
//!
//! ```yaml
//! default: mtls            # of what no rule names: mtls, tls, any or deny
//! min-tls: "1.2"
//! rules:                   # the first that fits decides
//!   - from: ns/shop
//!     to: data/pg
//!     port: 5432
//!     require: tls
//!     reason: its driver has no client certificates, ticket 4711
//!     until: 2027-03-31
//! exemptions: []           # as in a file of exemptions
//! ```

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, ensure};
use mtls_core::record::{Declared, EdgeRecord, Time};
use mtls_node::pods::Declarations;
use serde::Deserialize;
use smol_str::SmolStr;

use crate::select::{End, Ports};

/// Largest file read, in bytes.
const MAX: u64 = 1 << 20;

/// What is asked of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Require {
    /// Mutual TLS.
    #[default]
    Mtls,
    /// TLS, mutual or not.
    Tls,
    /// Nothing.
    Any,
    /// That there is none.
    Deny,
}

impl FromStr for Require {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mtls" => Ok(Self::Mtls),
            "tls" => Ok(Self::Tls),
            "any" => Ok(Self::Any),
            "deny" => Ok(Self::Deny),
            _ => Err(format!(
                "`{text}` is no requirement: write mtls, tls, any or deny"
            )),
        }
    }
}

/// A version of TLS, the older the smaller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Version(u8);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text)
            .filter(|_| text.starts_with("1."))
            .ok_or_else(|| format!("`{text}` is no version of TLS: write 1.0, 1.1, 1.2 or 1.3"))
    }
}

impl Version {
    /// As records have it: `1.2`, `ssl3`, `1.3-draft23`, `dtls1.2`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim_start_matches("dtls").trim();
        let text = text.split("-draft").next().unwrap_or(text);
        Some(Self(match text {
            "ssl2" => 2,
            "ssl3" => 3,
            "1.0" => 10,
            "1.1" => 11,
            "1.2" => 12,
            "1.3" => 13,
            _ => return None,
        }))
    }
}

/// What holds for the edges that a rule is about.
#[derive(Clone, PartialEq, Debug, Default)]
struct Rule {
    from: Option<End>,
    to: Option<End>,
    port: Option<Ports>,
    require: Require,
    min_tls: Option<Version>,
    until: Option<Time>,
}

/// All rules.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Rules {
    lines: Vec<Rule>,
    default: (Require, Option<Version>),
    exemptions: Vec<Declared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    default: Option<String>,
    min_tls: Option<String>,
    #[serde(default)]
    rules: Vec<Line>,
    #[serde(default)]
    exemptions: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Line {
    from: Option<String>,
    to: Option<String>,
    port: Option<String>,
    require: String,
    min_tls: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    until: Option<String>,
}

fn parsed<T: FromStr<Err = String>>(text: Option<&String>) -> anyhow::Result<Option<T>> {
    text.map(|text| text.parse().map_err(anyhow::Error::msg))
        .transpose()
}

impl Rules {
    /// What the flags say.
    pub(crate) fn new(require: Require, min_tls: Option<Version>) -> Self {
        Self {
            default: (require, min_tls),
            ..Self::default()
        }
    }

    /// Adds a file of exemptions, which hold or not as of `now`.
    pub(crate) fn allow(&mut self, path: &Path, now: Time) -> anyhow::Result<()> {
        self.exemptions.extend(Declarations::read(path)?.list(now));
        Ok(())
    }

    /// Reads a file of rules; the flags say what it leaves open.
    pub(crate) fn read(mut self, path: &Path, now: Time) -> anyhow::Result<Self> {
        let mut read = || {
            let size = std::fs::metadata(path)?.len();
            ensure!(size <= MAX, "a file of rules has at most {MAX} bytes");
            let text = std::fs::read_to_string(path)?;
            self.parse(&text, now)
        };
        read().with_context(|| format!("read the rules in {}", path.display()))
    }

    fn parse(&mut self, text: &str, now: Time) -> anyhow::Result<Self> {
        let document: Document = mtls_node::yaml::read(text)?;
        if let Some(default) = parsed(document.default.as_ref())? {
            self.default.0 = default;
        }
        if let Some(least) = parsed(document.min_tls.as_ref())? {
            self.default.1 = Some(least);
        }
        for (at, line) in document.rules.into_iter().enumerate() {
            let rule = line.rule(self.default.1);
            self.lines
                .push(rule.with_context(|| format!("rule {}", at + 1))?);
        }
        if !document.exemptions.is_empty() {
            let own = serde_json::json!({ "exemptions": document.exemptions });
            let own = Declarations::parse(&own.to_string()).context("exemptions")?;
            self.exemptions.extend(own.list(now));
        }
        Ok(std::mem::take(self))
    }

    /// What is asked of an edge at `now`.
    pub(super) fn of(&self, edge: &EdgeRecord, now: Time) -> (Require, Option<Version>) {
        let fits = |rule: &&Rule| {
            rule.from.as_ref().is_none_or(|end| end.is(&edge.src))
                && rule.to.as_ref().is_none_or(|end| end.is(&edge.dst))
                && rule
                    .port
                    .as_ref()
                    .is_none_or(|ports| edge.dst.port.is_some_and(|port| ports.contains(port)))
                && rule.until.is_none_or(|until| now <= until)
        };
        self.lines
            .iter()
            .find(fits)
            .map_or(self.default, |rule| (rule.require, rule.min_tls))
    }

    /// Why an edge is exempted; `Err` where the exemption is past its date.
    pub(super) fn exemption(&self, edge: &EdgeRecord) -> Option<Result<&SmolStr, &SmolStr>> {
        let covers = |one: &&Declared| {
            let who = edge.dst.workload.as_ref();
            let named = |name: &SmolStr| {
                who.is_some_and(|who| who.name == *name || who.pod.as_ref() == Some(name))
            };
            one.namespace
                .as_deref()
                .is_none_or(|namespace| edge.dst.namespace() == Some(namespace))
                && one.workload.as_ref().is_none_or(named)
                && one.port.is_none_or(|port| edge.dst.port == Some(port))
        };
        let holds = self
            .exemptions
            .iter()
            .filter(|one| !one.expired)
            .find(covers);
        let over = || {
            self.exemptions
                .iter()
                .filter(|one| one.expired)
                .find(covers)
        };
        match holds {
            Some(one) => Some(Ok(&one.reason)),
            None => over().map(|one| Err(&one.reason)),
        }
    }
}

impl Line {
    fn rule(self, least: Option<Version>) -> anyhow::Result<Rule> {
        let until = self.until.as_deref().map(|text| {
            let day = || Time::parse(&format!("{text}T23:59:59.999999999Z"));
            let until = Time::parse(text).or_else(day);
            until.with_context(|| format!("`{text}` is no date: write 2027-03-31"))
        });
        let require = self.require.parse().map_err(anyhow::Error::msg)?;
        ensure!(
            require == Require::Mtls || self.reason.is_some_and(|reason| !reason.trim().is_empty()),
            "whoever asks for less than mtls says why: `reason` is missing"
        );
        Ok(Rule {
            from: parsed(self.from.as_ref())?,
            to: parsed(self.to.as_ref())?,
            port: parsed(self.port.as_ref())?,
            require,
            min_tls: parsed(self.min_tls.as_ref())?.or(least),
            until: until.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Rules> {
        Rules::default().parse(text, Time::from_seconds(0))
    }

    #[test]
    fn versions_have_an_order() {
        let read = |text| Version::read(text).unwrap();
        assert!(read("ssl3") < read("1.0") && read("1.2") < read("1.3-draft23"));
        assert_eq!(Version::read("4.2"), None);
        assert!("ssl3".parse::<Version>().is_err());
    }

    #[test]
    fn a_file_that_says_something_else_is_an_error() {
        assert!(
            parse("default: tls\nrules:\n- {from: ns/shop, require: any, reason: old}\n").is_ok()
        );
        for wrong in [
            "default: green",
            "rules:\n- {from: a//b, require: mtls}",
            "rules:\n- {require: any}",
            "rules:\n- {require: deny, reason: x, colour: red}",
            "rules:\n- {require: any, reason: x, until: soon}",
            "min-tls: \"7\"",
            "exemptions:\n- {reason: everything}",
            "- 1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_until_its_date() {
        let rules = parse(
            "rules:\n- {to: data/pg, port: \"5432\", require: tls, reason: driver, until: 1970-01-02}\n- {to: ns/data, require: deny, reason: internal}\n",
        )
        .unwrap();
        let edge = EdgeRecord {
            dst: mtls_core::record::Peer {
                port: Some(5432),
                workload: Some(mtls_core::record::Workload {
                    name: "pg".into(),
                    namespace: "data".into(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..EdgeRecord::default()
        };
        let of = |second| rules.of(&edge, Time::from_seconds(second)).0;
        assert_eq!(of(0), Require::Tls);
        assert_eq!(of(200_000), Require::Deny);
        let other = EdgeRecord::default();
        assert_eq!(rules.of(&other, Time::default()).0, Require::Mtls);
    }
}
