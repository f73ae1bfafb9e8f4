//! What to say if nothing of an answer matches the filters.

use std::cell::RefCell;
use std::collections::BTreeSet;

use mtls_core::record::Peer;

use super::{Filter, Subject, Test, word};
use crate::output::count;

/// Most namespaces or protocols that are listed.
const LISTED: usize = 10;

impl Filter {
    /// Of an answer of which nothing matches: how much there was, and which namespaces and protocols
    /// were seen instead of those that were asked for. `None` if the answer was empty.
    pub(crate) fn nothing_left<T: Subject>(&self, answer: &[T], noun: &str) -> Option<String> {
        if answer.is_empty() {
            return None;
        }
        let all = count(answer.len() as u64, noun);
        let mut text = format!("nothing matches the filters ({all} without them)");
        for test in self.all.iter().flatten() {
            let (what, name, seen) = match test {
                Test::Namespace(name) => ("namespace", name, namespaces(answer)),
                Test::Protocol(name) => ("protocol", name, protocols(answer)),
                _ => continue,
            };
            let is = |seen: &String| match test {
                Test::Protocol(_) => word::is_protocol(name, seen),
                _ => name == seen,
            };
            if !seen.iter().any(is) {
                let seen: Vec<_> = seen.into_iter().take(LISTED).collect();
                let others = if seen.is_empty() {
                    "no other either".to_owned()
                } else {
                    seen.join(", ")
                };
                text.push_str("; ");
                text.push_str(&[what, name, "was not seen, but", &others].join(" "));
            }
        }
        Some(text)
    }
}

fn namespaces<T: Subject>(answer: &[T]) -> BTreeSet<String> {
    let ends = answer.iter().flat_map(|one| <[_; 2]>::from(one.ends()));
    ends.filter_map(Peer::namespace)
        .map(str::to_owned)
        .collect()
}

fn protocols<T: Subject>(answer: &[T]) -> BTreeSet<String> {
    let seen = RefCell::new(BTreeSet::new());
    for one in answer {
        one.protocol(&|protocol| {
            seen.borrow_mut().insert(protocol.to_owned());
            false
        });
    }
    seen.into_inner()
}

#[cfg(test)]
mod tests {
    use mtls_core::record::FlowRecord;

    use super::*;

    #[test]
    fn a_word_that_was_not_seen_is_named_with_those_that_were() {
        let flow = |protocol: &str| FlowRecord {
            protocol: protocol.into(),
            ..FlowRecord::default()
        };
        let flows = [flow("http/1.1"), flow("tls")];
        let filter = |tests: Vec<Test>| Filter {
            all: vec![tests],
            ..Filter::default()
        };
        let asked = filter(vec![Test::Protocol("klingon".into())]);
        assert_eq!(asked.nothing_left::<FlowRecord>(&[], "edge"), None);
        let text = asked.nothing_left(&flows, "connection").unwrap();
        assert!(text.contains("2 connections without"), "{text}");
        assert!(
            text.ends_with("klingon was not seen, but http/1.1, tls"),
            "{text}"
        );
        let known = filter(vec![Test::Protocol("http".into())]);
        let text = known.nothing_left(&flows, "connection").unwrap();
        assert!(!text.contains("http"), "{text}");
        let nowhere = filter(vec![Test::Namespace("shop".into())]);
        let text = nowhere.nothing_left(&flows, "connection").unwrap();
        assert!(text.ends_with("no other either"), "{text}");
    }
}
