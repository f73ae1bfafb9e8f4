//! `mtls edges`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use mtls_core::record::{EdgeKey, EdgeList, EdgeRecord};
use serde::Serialize;

use super::args::Edges;
use super::print;
use crate::output::{self, Format, Listing, Look, Screen, Sheet, Style};
use crate::select::Filter;
use crate::source::{Source, block_on};
use crate::usage::wrong;

/// How often `--watch` asks.
const PERIOD: Duration = Duration::from_secs(1);

/// The answer, as it is to be shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown {
    list: EdgeList,
    #[serde(skip)]
    all: bool,
}

impl Listing for Shown {
    type Item = EdgeRecord;

    fn items(&mut self) -> &mut Vec<EdgeRecord> {
        &mut self.list.items
    }

    fn sheet(&self, look: Look) -> Sheet {
        output::edges(&self.list, look, self.all, Style::of_locale())
    }

    fn name(edge: &EdgeRecord) -> String {
        output::edge_name(edge)
    }
}

pub(super) fn run(args: &Edges, whom: &Source) -> anyhow::Result<ExitCode> {
    let source = args.select.source(whom)?;
    let filter = args.select.with(&args.either);
    if filter.asks_for_pods() {
        eprintln!(
            "mtls: edges are between workloads: to filter by pod or address, use `mtls flows` with the same filters"
        );
    }
    let stdin = Source::File("-".into());
    if source == stdin && args.baseline.as_deref() == Some(std::path::Path::new("-")) {
        return wrong("standard input can be read only once: name a file for the baseline");
    }
    if args.watch && source.period().is_none() {
        return wrong("a file does not change: leave out --watch");
    }
    let list = block_on(first_or_second(args, &source, &filter))?;
    if let Some(file) = &args.baseline {
        let before = block_on(ask(&Source::File(file.clone()), &filter))?;
        return super::diff::show(&before, &list, &args.output, false);
    }
    if args.watch {
        return watch(args, &source, &filter, list);
    }
    let nodes = list.nodes.clone();
    show(args, list, !args.output.no_headers)?;
    Ok(super::answered(nodes.as_ref()))
}

/// The answer of `source`, or where there is none, of the metrics that the environment names.
async fn first_or_second(
    args: &Edges,
    source: &Source,
    filter: &Filter,
) -> anyhow::Result<EdgeList> {
    match (ask(source, filter).await, args.select.second(source)) {
        (Err(error), Some(second)) => {
            eprintln!("mtls: {}", output::safe_long(&format!("{error:#}")));
            eprintln!("mtls: querying the Prometheus server of MTLS_PROMETHEUS instead");
            ask(&second, filter).await
        }
        (answer, _) => answer,
    }
}

async fn ask(source: &Source, filter: &Filter) -> anyhow::Result<EdgeList> {
    let mut list = source.edges().await?;
    super::filter(filter, &mut list.items, list.generated, "edge");
    output::sort_edges(&mut list.items);
    Ok(list)
}

fn show(args: &Edges, list: EdgeList, headers: bool) -> anyhow::Result<()> {
    let shown = Shown {
        list,
        all: args.all,
    };
    let output = &args.output;
    let sort_by = output.sort_by.as_deref();
    let screen = Screen::of_stdout();
    print(&output::list(
        shown,
        &output.format,
        headers,
        sort_by,
        screen,
    )?)
}

/// What of an edge is news when it changes.
fn state(edge: &EdgeRecord) -> impl PartialEq + use<> {
    let counts = (edge.verdict_counts.clone(), edge.exempt_counts.clone());
    (edge.mark.clone(), edge.cause.clone(), counts)
}

/// Prints all, and from then on what comes or changes, until it is interrupted.
fn watch(
    args: &Edges,
    source: &Source,
    filter: &Filter,
    mut list: EdgeList,
) -> anyhow::Result<ExitCode> {
    let states = |list: &EdgeList| -> HashMap<EdgeKey, _> {
        let edges = list.items.iter();
        edges.map(|edge| (edge.key(), state(edge))).collect()
    };
    let mut known = states(&list);
    let mut headers = !args.output.no_headers;
    loop {
        if !list.items.is_empty() {
            // A document for each change would be no document.
            if args.output.format == Format::Json {
                for edge in &list.items {
                    print(&output::json(edge, false)?)?;
                }
            } else {
                show(args, list, headers)?;
            }
            headers = false;
        }
        std::thread::sleep(PERIOD);
        list = block_on(source.edges())?;
        filter.apply(&mut list.items, list.generated);
        output::sort_edges(&mut list.items);
        let now = states(&list);
        list.items
            .retain(|edge| known.get(&edge.key()) != now.get(&edge.key()));
        known = now;
    }
}
