//! QUIC and DTLS: the verdicts on `tests/datagrams/corpus`, compared with the ground truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use mtls_core::capture::{Capture, Decoded, Decoder};
use mtls_core::flow::{DatagramTable, Event, Limits};
use mtls_core::record::Verdict;

use crate::Score;

/// A flow with its ground truth and its verdict.
pub(crate) struct Gram {
    transport: String,
    kind: String,
    client: String,
    verdict: Verdict,
}

impl Gram {
    pub(crate) fn is_false_secure(&self) -> bool {
        self.score() == Score::Wrong && self.verdict == Verdict::Mtls
    }

    pub(crate) fn is_false_plaintext(&self) -> bool {
        matches!(self.verdict, Verdict::Plaintext | Verdict::Opaque)
    }

    pub(crate) fn score(&self) -> Score {
        let truth = match self.kind.trim_start_matches("resumed-") {
            "mtls" => Verdict::Mtls,
            "failed" => Verdict::Failed,
            _ => Verdict::Tls,
        };
        match self.verdict {
            verdict if verdict == truth => Score::Right,
            Verdict::TlsUnproven | Verdict::Unobserved => Score::Undecided,
            _ => Score::Wrong,
        }
    }
}

/// Every flow of the corpus. If two connections use the same ports, both have the kind of the row.
pub(crate) fn read(corpus: &Path) -> Result<Vec<Gram>> {
    let mut all = Vec::new();
    for row in super::rows(&corpus.join("truth.csv"))? {
        let [file, transport, client, _server, kind] = &row[..] else {
            anyhow::bail!("{row:?} is no row of truth.csv");
        };
        let mut decoder = Decoder::default();
        let mut table = DatagramTable::new(Limits::default());
        let mut add = |event: Event, verdict: Verdict| {
            if event == Event::Closed {
                all.push(Gram {
                    transport: transport.clone(),
                    kind: kind.clone(),
                    client: client.clone(),
                    verdict,
                });
            }
        };
        Capture::open(&corpus.join("pcap").join(file))?.read(
            |_| {},
            |packet| {
                if let Some(Decoded::Datagram(datagram)) = decoder.decode(packet) {
                    table.observe(&datagram, &mut |event, view| add(event, view.verdict()));
                }
            },
        )?;
        table.drain(&mut |event, view| add(event, view.verdict()));
    }
    Ok(all)
}

/// One row per kind and client stack.
pub(crate) fn table(out: &mut String, grams: &[Gram]) -> Result<()> {
    writeln!(
        out,
        "\n## QUIC and DTLS\n\n\
         The captures in `tests/datagrams`, by ground truth. The rule is in [datagrams.md](datagrams.md). Undecided\n\
         flows hide the answer by padding.\n\n\
         | | ground truth | client | flows | right | undecided | wrong | verdicts |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    let mut rows: BTreeMap<_, Vec<&Gram>> = BTreeMap::new();
    for gram in grams {
        let key = (&gram.transport, &gram.kind, &gram.client);
        rows.entry(key).or_default().push(gram);
    }
    for ((transport, kind, client), grams) in rows {
        let count = |score| grams.iter().filter(|gram| gram.score() == score).count();
        let verdicts: BTreeSet<_> = grams.iter().map(|gram| gram.verdict.as_str()).collect();
        let verdicts: Vec<_> = verdicts.into_iter().collect();
        let verdicts = verdicts.join(", ");
        writeln!(
            out,
            "| {transport} | {kind} | {client} | {} | {} | {} | {} | {verdicts} |",
            grams.len(),
            count(Score::Right),
            count(Score::Undecided),
            count(Score::Wrong),
        )?;
    }
    Ok(())
}
