//! What the operator expects of connections to a pod: from our annotation, or from a policy of the
//! pod's mesh.

use std::collections::BTreeMap;

use smol_str::{SmolStr, format_smolstr};

use super::entry::clean;

/// The annotation of a pod or a namespace: what connections to it should be.
pub const EXPECT: &str = "mtls.internal/expect";
/// Most ports that one annotation or policy distinguishes.
const MAX_PORTS: usize = 64;

/// The least that a connection must be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Anything is accepted, including plaintext.
    Any,
    /// Plaintext, as configured in the mesh.
    Plaintext,
    /// TLS, with only the server or both sides authenticated.
    Tls,
    /// Mutual TLS.
    Mtls,
}

/// The source of the expectation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum By {
    /// The annotation [`EXPECT`]: it applies whatever the mesh's policy is.
    Annotation,
    /// A policy of the pod's mesh.
    Policy,
}

/// One expectation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// What is expected.
    pub level: Level,
    /// Its source.
    pub by: By,
    /// The object and its setting: `PeerAuthentication shop/default is STRICT`.
    pub words: SmolStr,
}

/// The expectations of one object, for all ports and for some.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Layer {
    /// For every port that is not in `ports`.
    pub whole: Option<Rule>,
    /// For single ports.
    pub ports: Vec<(u16, Rule)>,
}

/// The expectations of connections to a pod. The first that applies is used.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Inbound(Box<[Layer]>);

impl Layer {
    fn at(&self, port: u16) -> Option<&Rule> {
        let single = self.ports.iter().find(|(of, _)| *of == port);
        single.map(|(_, rule)| rule).or(self.whole.as_ref())
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.whole.is_none() && self.ports.is_empty()
    }
}

impl FromIterator<Layer> for Inbound {
    fn from_iter<I: IntoIterator<Item = Layer>>(layers: I) -> Self {
        Self(layers.into_iter().filter(|one| !one.is_empty()).collect())
    }
}

impl Inbound {
    /// What applies to connections to `port`.
    pub fn at(&self, port: u16) -> Option<&Rule> {
        self.0.iter().find_map(|layer| layer.at(port))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The contents of the annotation in `annotations`, if it exists: `mtls`, `tls`, `plaintext` or
/// `any`, and `PORT=…` for single ports, separated by commas. `whose` is the object that has it.
pub(super) fn annotated(annotations: &BTreeMap<String, String>, whose: &str) -> Option<Layer> {
    let text = annotations.get(EXPECT)?;
    let mut layer = Layer::default();
    for part in text.split(',').map(str::trim).take(MAX_PORTS) {
        let (port, word) = match part.split_once('=') {
            Some((port, word)) => (port.trim().parse().ok(), word.trim()),
            None => (None, part),
        };
        let is_readable = part.contains('=') == port.is_some();
        let level = level(word).filter(|_| is_readable);
        let words = if level.is_some() {
            format_smolstr!("{whose} is annotated {EXPECT}: {part}")
        } else {
            format_smolstr!(
                "{whose} is annotated {EXPECT}: {part}, which is none of mtls, tls, plaintext and \
                 any, so that mtls is expected"
            )
        };
        let rule = Rule {
            // The author did expect something.
            level: level.unwrap_or(Level::Mtls),
            by: By::Annotation,
            words: clean(&words),
        };
        match port {
            Some(port) => layer.ports.push((port, rule)),
            None => layer.whole = Some(rule),
        }
    }
    Some(layer)
}

fn level(word: &str) -> Option<Level> {
    Some(match word.to_ascii_lowercase().as_str() {
        "mtls" => Level::Mtls,
        "tls" => Level::Tls,
        "plaintext" => Level::Plaintext,
        "any" => Level::Any,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Inbound {
        let annotations = BTreeMap::from([(EXPECT.to_owned(), text.to_owned())]);
        annotated(&annotations, "pod shop/web")
            .into_iter()
            .collect()
    }

    #[test]
    fn an_annotation_is_of_all_ports_and_of_some() {
        let inbound = of("mTLS, 9090=any,8080 = tls");
        for (port, level) in [(443, Level::Mtls), (9090, Level::Any), (8080, Level::Tls)] {
            assert_eq!(inbound.at(port).unwrap().level, level, "{port}");
        }
        let some = of("9090=plaintext");
        assert_eq!(some.at(9090).unwrap().level, Level::Plaintext);
        assert_eq!(some.at(9091), None);
    }

    #[test]
    fn what_cannot_be_read_expects_the_most_and_says_so() {
        for text in ["mutual", "", "x=any", "70000=any", "80=", "\u{1b}[2J"] {
            let inbound = of(text);
            let rule = inbound.at(80).unwrap();
            assert_eq!(rule.level, Level::Mtls, "{text:?}");
            assert!(rule.words.contains("none of mtls"), "{}", rule.words);
            assert!(!rule.words.contains('\u{1b}'));
        }
        assert!(annotated(&BTreeMap::new(), "pod shop/web").is_none());
    }

    #[test]
    fn it_is_bounded() {
        let text: Vec<_> = (1..2_000).map(|port| format!("{port}=any")).collect();
        assert_eq!(of(&text.join(",")).0[0].ports.len(), MAX_PORTS);
    }

    #[test]
    fn the_first_that_has_a_say_decides() {
        let pod = of("80=any").0[0].clone();
        let namespace = of("tls,80=mtls").0[0].clone();
        let both: Inbound = [pod, namespace].into_iter().collect();
        assert_eq!(both.at(80).unwrap().level, Level::Any);
        assert_eq!(both.at(81).unwrap().level, Level::Tls);
    }
}
