//! The page: what was measured, as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use mtls_core::record::{Evidence, Verdict};

use crate::datagrams::{self, Gram};
use crate::{Case, Other, Score};

/// The text before the numbers: the rule and its assumptions.
const RULE: &str = include_str!("rule.md");

/// The whole page.
pub(crate) fn page(cases: &[Case], others: &[Other], grams: &[Gram]) -> Result<String> {
    let mut out = String::from(RULE);
    totals(&mut out, cases, others, grams)?;
    kinds(&mut out, cases)?;
    datagrams::table(&mut out, grams)?;
    reasons(&mut out, cases)?;
    cost(&mut out, cases)?;
    Ok(out)
}

fn totals(out: &mut String, cases: &[Case], others: &[Other], grams: &[Gram]) -> Result<()> {
    let count = |score| cases.iter().filter(|case| case.score() == score).count();
    let gram = |score| grams.iter().filter(|gram| gram.score() == score).count();
    let other = others.iter().filter(|other| other.is_right()).count();
    let secure = cases.iter().filter(|case| case.is_false_secure()).count()
        + others
            .iter()
            .filter(|o| !o.is_right() && o.flow.finding.verdict == Verdict::Mtls)
            .count()
        + grams.iter().filter(|gram| gram.is_false_secure()).count();
    let plaintext = cases
        .iter()
        .filter(|case| case.is_false_plaintext())
        .count()
        + grams
            .iter()
            .filter(|gram| gram.is_false_plaintext())
            .count();
    writeln!(
        out,
        "\n## In all\n\n\
         | | flows | right | undecided | wrong |\n|---|---|---|---|---|\n\
         | TLS handshakes | {} | {} | {} | {} |\n\
         | QUIC and DTLS | {} | {} | {} | {} |\n\
         | connections of other protocols | {} | {} | | {} |\n\n\
         Called `mtls` and is not: **{secure}**. TLS called `plaintext` or `opaque`: **{plaintext}**.",
        cases.len(),
        count(Score::Right),
        count(Score::Undecided),
        count(Score::Wrong),
        grams.len(),
        gram(Score::Right),
        gram(Score::Undecided),
        gram(Score::Wrong),
        others.len(),
        other,
        others.len() - other,
    )?;
    Ok(())
}

/// One row per kind and client.
fn kinds(out: &mut String, cases: &[Case]) -> Result<()> {
    writeln!(
        out,
        "\n## By kind and client\n\n\
         | TLS | what the peers did | client | flows | right | undecided | wrong | verdicts |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    let mut rows: BTreeMap<_, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        let key = (&case.version, &case.kind, &case.client);
        rows.entry(key).or_default().push(case);
    }
    for ((version, kind, client), cases) in rows {
        let count = |score| cases.iter().filter(|case| case.score() == score).count();
        let verdicts: BTreeSet<_> = cases
            .iter()
            .map(|c| c.flow.finding.verdict.as_str())
            .collect();
        let verdicts: Vec<_> = verdicts.into_iter().collect();
        let verdicts = verdicts.join(", ");
        writeln!(
            out,
            "| {version} | {kind} | {client} | {} | {} | {} | {} | {verdicts} |",
            cases.len(),
            count(Score::Right),
            count(Score::Undecided),
            count(Score::Wrong),
        )?;
    }
    Ok(())
}

/// Why flows are undecided.
fn reasons(out: &mut String, cases: &[Case]) -> Result<()> {
    writeln!(
        out,
        "\n## Undecided, and why\n\n| what the peers did | reason | flows |\n|---|---|---|"
    )?;
    let mut rows: BTreeMap<_, usize> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.score() == Score::Undecided) {
        // Lengths differ from flow to flow.
        let reason: String = case.flow.finding.reason.as_str().into();
        let reason: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        *rows
            .entry((&case.kind, reason.replace("has  bytes", "has n bytes")))
            .or_default() += 1;
    }
    for ((kind, reason), flows) in rows {
        writeln!(out, "| {kind} | {reason} | {flows} |")?;
    }
    Ok(())
}

/// The cost of not relying on the first record alone.
fn cost(out: &mut String, cases: &[Case]) -> Result<()> {
    writeln!(
        out,
        "\n## What waiting for a second record costs\n\n\
         All TLS 1.3 flows that are `mtls` by the shape of their handshake. *Before* is the start of the client's\n\
         first encrypted record, which used to decide alone; *after* is when the verdict was reached. Payload bytes\n\
         of both sides and milliseconds, counted from the first packet.\n\n\
         | client | flows | decided in the same segment | only at the end | bytes before | bytes after | ms before | ms after |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    let mut rows: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        let finding = &case.flow.finding;
        if finding.verdict == Verdict::Mtls
            && finding.evidence == Some(Evidence::HandshakeShape)
            && case.version == "1.3"
        {
            rows.entry(&case.client).or_default().push(case);
            rows.entry("all").or_default().push(case);
        }
    }
    for (client, cases) in rows {
        let both = cases
            .iter()
            .filter_map(|c| c.flow.first_record.zip(c.flow.decided));
        let both: Vec<_> = both.collect();
        let same = both
            .iter()
            .filter(|(first, decided)| first.bytes == decided.bytes)
            .count();
        let ms = |ns: u64| ns as f64 / 1e6;
        writeln!(
            out,
            "| {client} | {} | {same} | {} | {} | {} | {:.1} | {:.1} |",
            cases.len(),
            cases.len() - both.len(),
            median(both.iter().map(|(first, _)| first.bytes)),
            median(both.iter().map(|(_, decided)| decided.bytes)),
            ms(median(both.iter().map(|(first, _)| first.time))),
            ms(median(both.iter().map(|(_, decided)| decided.time))),
        )?;
    }
    Ok(())
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
