//! The directory: the page, the same as CSV and JSON, the manifest and its signature.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use mtls_core::record::List;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::page::page;
use super::sign::Key;
use super::{Report, sign};
use crate::graph;
use crate::inventory;
use crate::output::{self, Look, Sheet, Style};
use crate::usage::wrong;

/// The page.
const PAGE: &str = "report.html";
/// The sums of all files, as `sha256sum -c` reads them.
const MANIFEST: &str = "SHA256SUMS";

/// A file of the report.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: &'static str,
    /// What it holds, in a few words.
    pub(super) what: &'static str,
    pub(super) sum: String,
    bytes: Vec<u8>,
}

impl File {
    fn new(name: &'static str, what: &'static str, bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes);
        let mut sum = String::new();
        for byte in digest {
            // Writing to a String cannot fail.
            let _ = write!(sum, "{byte:02x}");
        }
        Self {
            name,
            what,
            sum,
            bytes,
        }
    }

    fn json(
        name: &'static str,
        what: &'static str,
        value: &impl Serialize,
    ) -> anyhow::Result<Self> {
        let text = output::json(value, true)?;
        Ok(Self::new(name, what, text.into_bytes()))
    }

    fn csv(name: &'static str, what: &'static str, sheet: &Sheet) -> anyhow::Result<Self> {
        Ok(Self::new(name, what, sheet.csv(true)?.into_bytes()))
    }
}

/// Whether a report can be written there: a directory that has something in it is somebody's.
pub(crate) fn check(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    let mut entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return wrong(format!(
                "{shown} is no directory: name a new one for the report"
            ));
        }
        Err(error) => return Err(error).with_context(|| format!("read {shown}")),
    };
    if entries.next().is_some() {
        return wrong(format!(
            "{shown} is not empty: name a new directory for the report"
        ));
    }
    Ok(())
}

/// Writes everything into a new or an empty directory; the names of the files, the page first. Of one
/// that could not be written, nothing is left.
pub(crate) fn write(
    report: &Report,
    dir: &Path,
    key: Option<&Key>,
) -> anyhow::Result<Vec<&'static str>> {
    let mut files = data(report)?;
    let drawn = graph::draw(&report.edges.items, false)?;
    let alone = graph::draw(&report.edges.items, true)?;
    files.push(File::new("graph.svg", "the graph", alone.svg.into_bytes()));
    let page = page(report, &drawn, &files)?;
    files.insert(0, File::new(PAGE, "the report", page.into_bytes()));
    let mut manifest = String::new();
    for file in &files {
        let _ = writeln!(manifest, "{}  {}", file.sum, file.name);
    }
    let signature = key
        .map(|key| sign::sign(key, &manifest, report.made))
        .transpose()?;
    files.push(File::new(MANIFEST, "", manifest.into_bytes()));
    if let Some(signature) = signature {
        files.push(File::new("SHA256SUMS.minisig", "", signature.into_bytes()));
    }
    let is_new = !dir.exists();
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("make the directory {shown}"))?;
    let written = files.iter().try_for_each(|file| {
        let path = dir.join(file.name);
        std::fs::write(&path, &file.bytes).with_context(|| format!("write {}", path.display()))
    });
    if written.is_err() {
        for file in &files {
            // It may not be there, and nothing more can be done where it stays.
            let _ = std::fs::remove_file(dir.join(file.name));
        }
        if is_new {
            let _ = std::fs::remove_dir(dir);
        }
    }
    written?;
    Ok(files.iter().map(|file| file.name).collect())
}

/// What a program or a spreadsheet reads.
fn data(report: &Report) -> anyhow::Result<Vec<File>> {
    let style = Style::Ascii;
    let edges = output::edges(&report.edges, Look::Wide, true, style);
    let mut files = vec![
        File::json(
            "edges.json",
            "the edges, as `mtls edges -o json` has them",
            &report.edges,
        )?,
        File::csv("edges.csv", "the edges as a table", &edges)?,
        File::json(
            "findings.json",
            "the findings, as `mtls explain -o json` has them",
            &report.findings,
        )?,
        File::csv("findings.csv", "the findings as a table", &findings(report))?,
    ];
    if let Some(flows) = &report.flows {
        let table = output::flows(flows, Look::Wide, style);
        files.push(File::json(
            "flows.json",
            "the connections, one by one",
            flows,
        )?);
        files.push(File::csv(
            "flows.csv",
            "the connections as a table",
            &table,
        )?);
        let inventory = inventory::of(flows.clone(), None);
        files.push(File::json(
            "inventory.json",
            "the inventory, as `mtls inventory -o json` has it",
            &inventory,
        )?);
    }
    if !report.statuses.is_empty() {
        let statuses = report.statuses.iter().collect();
        let list = List::new(None, report.edges.generated, statuses);
        files.push(File::json(
            "status.json",
            "the state of each daemon",
            &list,
        )?);
    }
    Ok(files)
}

fn findings(report: &Report) -> Sheet {
    let mut sheet = Sheet::new(vec![
        "FROM", "TO", "PORT", "STATUS", "EVIDENCE", "NOT SEEN", "NEXT",
    ]);
    for one in &report.findings.items {
        let Some(edge) = &one.edge else { continue };
        let lines = |lines: &[String]| {
            let lines: Vec<_> = lines.iter().map(|line| output::safe_long(line)).collect();
            lines.join("; ")
        };
        let cells = vec![
            output::end_path(&edge.src),
            output::end_path(&edge.dst),
            output::edge_port(edge),
            graph::words(edge.mark.as_ref()).to_owned(),
            lines(&one.evidence),
            lines(&one.not_seen),
            lines(&one.next),
        ];
        sheet.row(cells, edge.mark.as_ref());
    }
    sheet
}
