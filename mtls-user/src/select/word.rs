//! Ports, protocols and verdicts, as they are asked for on the command line.

use std::ops::RangeInclusive;
use std::str::FromStr;

use mtls_core::record::{Mark, Verdict, Vocabulary};

/// A port, or a range of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ports(RangeInclusive<u16>);

impl Ports {
    /// Whether `port` is one of them.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a port or a range: write 5432, or 8000-8999");
        let port = |text: &str| text.parse::<u16>().ok();
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first), port(last)),
            None => (port(text), port(text)),
        };
        let (first, last) = (first.ok_or_else(wrong)?, last.ok_or_else(wrong)?);
        if first > last {
            return Err(wrong());
        }
        Ok(Self(first..=last))
    }
}

/// A verdict, or what an edge comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// Connections of this verdict.
    Verdict(Verdict),
    /// What is marked so.
    Mark(Mark),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let verdict = Verdict::find(text).map(Self::Verdict);
        let mark = || Mark::find(text).map(Self::Mark);
        verdict.or_else(mark).ok_or_else(|| {
            format!(
                "`{text}` is not a verdict: write one of {}; or a status: {}",
                words::<Verdict>(),
                words::<Mark>()
            )
        })
    }
}

/// All words of a vocabulary.
fn words<T: Vocabulary>() -> String {
    let words: Vec<_> = T::ALL.iter().map(|word| word.as_str()).collect();
    words.join(", ")
}

/// Whether a protocol is the one that is asked for: `http` is every `http/…`.
pub(super) fn is_protocol(asked: &str, protocol: &str) -> bool {
    let (asked, protocol) = (asked.to_ascii_lowercase(), protocol.to_ascii_lowercase());
    let rest = protocol.strip_prefix(&asked);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
