//! `mtls explain`.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use mtls_core::record::{EdgeList, Explanation, FlowRecord, List, Time};

use super::Usage;
use super::args::Explain;
use crate::explain;
use crate::output::{self, Format};
use crate::select::{End, Filter, Test};
use crate::source::{Source, block_on};

pub(super) fn run(args: &Explain, whom: &Source) -> anyhow::Result<ExitCode> {
    let source = match &args.file {
        Some(file) => Source::File(file.clone()),
        None => whom.clone(),
    };
    let (generated, explained) = match args.what.as_slice() {
        [id] => of_id(&source, id)?,
        [from, to] => of_edges(&source, from, to)?,
        _ => bail!("write FROM TO[:PORT], or the id of a connection"),
    };
    let text = match &args.format {
        Format::Table | Format::Wide => {
            let all: Vec<_> = explained.iter().map(explain::text).collect();
            all.join("\n")
        }
        format => {
            let list = List::new(None, generated, explained.iter().collect());
            output::document(&list, &explained, format)?
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// One connection, by its identity or its number.
fn of_id(source: &Source, id: &str) -> anyhow::Result<(Time, Vec<Explanation>)> {
    let list = block_on(source.flows())?;
    let is_it = |flow: &&FlowRecord| {
        let number = flow.connection.map(|number| number.to_string());
        flow.id.as_deref() == Some(id) || number.as_deref() == Some(id)
    };
    let flow = list.items.iter().rev().find(is_it).with_context(|| {
        format!("no connection has the id {id}: `mtls flows -o wide` lists them; for an edge write FROM TO[:PORT]")
    })?;
    Ok((
        list.generated,
        vec![explain::flow(flow.clone(), list.generated)],
    ))
}

/// The edges between two ends, the worst first.
fn of_edges(source: &Source, from: &str, to: &str) -> anyhow::Result<(Time, Vec<Explanation>)> {
    let filter = filter(from, to)?;
    let mut list = block_on(source.edges())?;
    let all = list.clone();
    filter.apply(&mut list.items, list.generated);
    output::sort_edges(&mut list.items);
    ensure!(!list.items.is_empty(), "{}", unknown(&all, from, to));
    // A file of edges has no connections, and a daemon may have been told to remember none.
    let mut flows = block_on(source.flows())
        .map(|list| list.items)
        .unwrap_or_default();
    filter.apply(&mut flows, list.generated);
    let explained = list
        .items
        .into_iter()
        .map(|edge| explain::edge_among(edge, &flows, list.generated));
    Ok((list.generated, explained.collect()))
}

fn filter(from: &str, to: &str) -> Result<Filter, Usage> {
    let to = to.strip_suffix("/udp").unwrap_or(to);
    // `pg:5432`, `[fd00::1]:443`; an address of IPv6 has colons of its own.
    let (to, port) = match to.rsplit_once(':') {
        Some((name, port)) if to.parse::<std::net::Ipv6Addr>().is_err() => (name, Some(port)),
        _ => (to, None),
    };
    let to = to.trim_start_matches('[').trim_end_matches(']');
    let end = |text: &str| text.parse::<End>().map_err(Usage);
    let mut all = vec![vec![Test::From(end(from)?)], vec![Test::To(end(to)?)]];
    if let Some(port) = port {
        all.push(vec![Test::Port(port.parse().map_err(Usage)?)]);
    }
    Ok(Filter {
        all,
        ..Filter::default()
    })
}

/// What there is instead: edges that share one of the ends.
fn unknown(list: &EdgeList, from: &str, to: &str) -> String {
    let mut text = format!("no edge from {from} to {to} was seen");
    let near = |filter: Result<Filter, Usage>| -> Vec<String> {
        let Ok(mut filter) = filter else {
            return Vec::new();
        };
        let parts = std::mem::take(&mut filter.all);
        let any: Vec<_> = parts.into_iter().take(2).flatten().collect();
        filter.all = vec![any];
        let near = list.items.iter();
        let near = near.filter(|edge| filter.takes(*edge, list.generated));
        near.take(5).map(output::edge_name).collect()
    };
    let near = near(filter(from, to));
    if near.is_empty() {
        text.push_str("; `mtls edges -o name` lists all");
    } else {
        text.push_str("; there are: ");
        text.push_str(&near.join(", "));
    }
    text
}
