//! `cargo xtask accuracy`: compares the corpus' verdicts with the ground truth, as a page.
//!
//! The core reads every capture of `tests/corpus`, packet by packet. A flow is *right* if its
//! verdict is the ground truth, *undecided* if it is `tls-unproven` or `unobserved` with a reason,
//! and *wrong* otherwise. The exit status is 1 if any is wrong.

mod datagrams;
mod flows;
mod page;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use mtls_core::record::Verdict;

use flows::{Flow, read};

/// A flow with its ground truth.
struct Case {
    version: String,
    kind: String,
    client: String,
    flow: Flow,
}

/// How a verdict compares with the ground truth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Score {
    Right,
    Undecided,
    Wrong,
}

impl Case {
    fn score(&self) -> Score {
        let verdict = self.flow.finding.verdict;
        if Some(verdict) == truth(&self.kind) {
            Score::Right
        } else if matches!(verdict, Verdict::TlsUnproven | Verdict::Unobserved) {
            Score::Undecided
        } else {
            Score::Wrong
        }
    }

    /// The client presented no certificate, or it was rejected.
    fn is_false_secure(&self) -> bool {
        self.flow.finding.verdict == Verdict::Mtls && truth(&self.kind) != Some(Verdict::Mtls)
    }

    fn is_false_plaintext(&self) -> bool {
        matches!(
            self.flow.finding.verdict,
            Verdict::Plaintext | Verdict::Opaque
        )
    }
}

/// The right verdict for a kind of handshake; none if no observer can know, as with a pre-shared
/// key.
fn truth(kind: &str) -> Option<Verdict> {
    // What may hide it does not change it.
    let hidden = ["padded-", "fragmented-", "long-"];
    let kind = hidden
        .iter()
        .find_map(|how| kind.strip_prefix(how))
        .unwrap_or(kind);
    let of = |kinds: &[&str]| kinds.contains(&kind);
    if of(&[
        "mutual",
        "resumed-mutual",
        "renegotiated",
        "renegotiated-rsa",
    ]) {
        Some(Verdict::Mtls)
    } else if of(&[
        "server-only",
        "requested-none",
        "resumed-server-only",
        "renegotiated-none",
        "post-handshake",
    ]) {
        Some(Verdict::Tls)
    } else if of(&[
        "refused",
        "rejected",
        "no-common-version",
        "no-common-cipher",
    ]) {
        Some(Verdict::Failed)
    } else {
        None
    }
}

fn main() -> Result<ExitCode> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let cases = handshakes(&corpus)?;
    let others = protocols(&corpus)?;
    let grams = datagrams::read(&corpus.join("../datagrams/corpus"))?;
    print!("{}", page::page(&cases, &others, &grams)?);
    let wrong = cases.iter().any(|case| case.score() == Score::Wrong)
        || grams.iter().any(|gram| gram.score() == Score::Wrong)
        || others.iter().any(|other| !other.is_right());
    Ok(ExitCode::from(u8::from(wrong)))
}

/// The flows of `truth.csv`: one row per capture, with its flows' kinds separated by `+`.
fn handshakes(corpus: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for row in rows(&corpus.join("truth.csv"))? {
        let [file, client, _server, version, kinds] = &row[..] else {
            anyhow::bail!("{row:?} is no row of truth.csv");
        };
        let flows = read(&corpus.join("pcap").join(file))?;
        let kinds: Vec<&str> = kinds.split('+').collect();
        anyhow::ensure!(
            flows.len() == kinds.len(),
            "{file} has {} flows",
            flows.len()
        );
        for (flow, kind) in flows.into_iter().zip(kinds) {
            let (version, client) = (version.clone(), client.clone());
            let kind = kind.to_owned();
            cases.push(Case {
                version,
                kind,
                client,
                flow,
            });
        }
    }
    Ok(cases)
}

/// A connection of another protocol, and its right verdict.
struct Other {
    verdict: String,
    flow: Flow,
}

impl Other {
    fn is_right(&self) -> bool {
        self.flow.finding.verdict.as_str() == self.verdict
    }
}

/// The connections of `protocols.csv`, one per capture.
fn protocols(corpus: &Path) -> Result<Vec<Other>> {
    let mut others = Vec::new();
    for row in rows(&corpus.join("protocols.csv"))? {
        let path = corpus.join("protocols").join(&row[0]);
        let flow = read(&path)?
            .pop()
            .with_context(|| format!("{} has no flow", row[0]))?;
        let verdict = row[1].clone();
        others.push(Other { verdict, flow });
    }
    Ok(others)
}

fn rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let row = |line: &str| line.split(',').map(str::to_owned).collect();
    Ok(text.lines().skip(1).map(row).collect())
}
