//! `mtls diff` and `mtls edges --baseline`: what has changed between two answers.

use std::collections::BTreeMap;
use std::process::ExitCode;

use mtls_core::record::{Change, EdgeChange, EdgeKey, EdgeList, EdgeRecord, List, Mark};
use serde::Serialize;

use super::args::{Diff, Output};
use crate::output::{self, Format, Listing, Look, Screen, Sheet, Style};
use crate::source::{Source, block_on};
use crate::usage::wrong;

/// The changes, as they are to be shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown {
    list: List<EdgeChange>,
    #[serde(skip)]
    compared: usize,
}

impl Listing for Shown {
    type Item = EdgeChange;

    fn items(&mut self) -> &mut Vec<EdgeChange> {
        &mut self.list.items
    }

    fn sheet(&self, _look: Look) -> Sheet {
        output::changes(&self.list.items, self.compared, Style::of_locale())
    }

    fn name(change: &EdgeChange) -> String {
        let edge = change.after.as_ref().or(change.before.as_ref());
        edge.map(output::edge_name).unwrap_or_default()
    }
}

pub(super) fn run(args: &Diff) -> anyhow::Result<ExitCode> {
    args.select.names_no_source()?;
    let filter = args.select.filter();
    let read = |file: &std::path::Path| -> anyhow::Result<EdgeList> {
        let mut list = block_on(Source::File(file.into()).edges())?;
        filter.apply(&mut list.items, list.generated);
        Ok(list)
    };
    let stdin = std::path::Path::new("-");
    if args.before == stdin && args.after == stdin {
        return wrong("standard input is one answer: name a file for the other");
    }
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    show(&before, &after, &args.output, args.fail_on_worse)
}

/// Prints what differs; `fail`: exit with 1 where something is worse, or new and not mutual.
pub(super) fn show(
    before: &EdgeList,
    after: &EdgeList,
    output: &Output,
    fail: bool,
) -> anyhow::Result<ExitCode> {
    if matches!(output.format, Format::Wide | Format::Linkerd) {
        return wrong("a table of changes has no other columns: leave out -o");
    }
    let index = |list: &EdgeList| -> BTreeMap<EdgeKey, EdgeRecord> {
        let edges = list.items.iter();
        edges.map(|edge| (edge.key(), edge.clone())).collect()
    };
    let (old, new) = (index(before), index(after));
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let changes = keys
        .iter()
        .filter_map(|key| EdgeChange::of(old.get(*key), new.get(*key)));
    let mut changes: Vec<_> = changes.collect();
    changes.sort_by_key(|change| change.change.clone());
    let is_bad = |change: &EdgeChange| match change.change.known() {
        Some(Change::Worse) => true,
        Some(Change::New) => change
            .after
            .as_ref()
            .is_some_and(|edge| edge.mark.as_ref().is_some_and(|mark| *mark != Mark::Mutual)),
        _ => false,
    };
    let failed = fail && changes.iter().any(is_bad);
    let shown = Shown {
        list: List::new(after.node.clone(), after.generated, changes),
        compared: keys.len(),
    };
    super::print(&output::list(
        shown,
        &output.format,
        !output.no_headers,
        output.sort_by.as_deref(),
        Screen::of_stdout(),
    )?)?;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
