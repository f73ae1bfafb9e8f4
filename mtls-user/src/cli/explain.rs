//! `mtls explain`.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use mtls_core::record::{EdgeList, Explanation, FlowRecord, List, Time};

use super::args::Explain;
use crate::cluster::Namespace;
use crate::explain;
use crate::output::{self, Format};
use crate::select::{End, Filter, Ports, Test};
use crate::source::{Source, block_on};
use crate::usage::{Usage, wrong};

pub(super) fn run(args: &Explain, whom: &Source) -> anyhow::Result<ExitCode> {
    let namespace = args.namespace.as_deref();
    let (generated, explained) = match args.what.as_slice() {
        [id] => of_id(&source(args, whom, namespace), id)?,
        [from, to] => {
            let ends = Ends::new(from, to, namespace)?;
            of_edges(&source(args, whom, ends.namespace()), &ends)?
        }
        _ => wrong("write FROM TO[:PORT], or the ID of a connection")?,
    };
    let text = match &args.format {
        Format::Table => {
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

/// Who is asked; of a cluster, what is in this namespace, or in the context's.
fn source(args: &Explain, whom: &Source, namespace: Option<&str>) -> Source {
    match (&args.file, whom, namespace) {
        (Some(file), ..) => Source::File(file.clone()),
        (None, Source::Cluster(options, _), Some(name)) => {
            Source::Cluster(options.clone(), Namespace::One(name.to_owned()))
        }
        (None, whom, _) => whom.clone(),
    }
}

/// One connection, by its identity or its number.
fn of_id(source: &Source, id: &str) -> anyhow::Result<(Time, Vec<Explanation>)> {
    let list = block_on(source.flows())?;
    let is_it = |flow: &&FlowRecord| {
        let number = flow.connection.map(|number| number.to_string());
        flow.id.as_deref() == Some(id) || number.as_deref() == Some(id)
    };
    let flow = list.items.iter().rev().find(is_it).with_context(|| {
        format!("no connection has the ID {id}: `mtls flows -o wide` lists IDs; for an edge, write FROM TO[:PORT]")
    })?;
    Ok((
        list.generated,
        vec![explain::flow(flow.clone(), list.generated)],
    ))
}

/// The edges between two ends, the worst first.
fn of_edges(source: &Source, ends: &Ends<'_>) -> anyhow::Result<(Time, Vec<Explanation>)> {
    let filter = ends.filter();
    let (mut list, flows) = block_on(source.both())?;
    let all = list.clone();
    filter.apply(&mut list.items, list.generated);
    output::sort_edges(&mut list.items);
    ensure!(!list.items.is_empty(), "{}", ends.unknown(&all));
    // A file of edges has no connections, and a daemon may have been told to remember none.
    let mut flows = flows.map(|list| list.items).unwrap_or_default();
    filter.apply(&mut flows, list.generated);
    let explained = list
        .items
        .into_iter()
        .map(|edge| explain::edge_among(edge, &flows, list.generated));
    Ok((list.generated, explained.collect()))
}

/// Both ends of the edges that are to be explained, as they were written and as they are meant.
struct Ends<'a> {
    written: [&'a str; 2],
    from: End,
    to: End,
    port: Option<Ports>,
}

impl<'a> Ends<'a> {
    fn new(from: &'a str, to: &'a str, namespace: Option<&str>) -> Result<Self, Usage> {
        let written = [from, to];
        let to = to.strip_suffix("/udp").unwrap_or(to);
        // `pg:5432`, `[fd00::1]:443`; an address of IPv6 has colons of its own.
        let (to, port) = match to.rsplit_once(':') {
            Some((name, port)) if to.parse::<std::net::Ipv6Addr>().is_err() => (name, Some(port)),
            _ => (to, None),
        };
        let to = to.trim_start_matches('[').trim_end_matches(']');
        let end = |text: &str| {
            let end = text.parse::<End>().map_err(Usage)?;
            Ok(end.within(namespace))
        };
        Ok(Self {
            written,
            from: end(from)?,
            to: end(to)?,
            port: port.map(str::parse).transpose().map_err(Usage)?,
        })
    }

    /// A namespace that one of them is in.
    fn namespace(&self) -> Option<&str> {
        self.from.namespace().or(self.to.namespace())
    }

    fn filter(&self) -> Filter {
        let mut all = vec![
            vec![Test::From(self.from.clone())],
            vec![Test::To(self.to.clone())],
        ];
        all.extend(self.port.clone().map(|port| vec![Test::Port(port)]));
        Filter {
            all,
            ..Filter::default()
        }
    }

    /// What there is instead: edges that share one of the ends.
    fn unknown(&self, list: &EdgeList) -> String {
        let [from, to] = self.written;
        let mut text = format!("no edge from {from} to {to} was seen");
        let either = vec![Test::From(self.from.clone()), Test::To(self.to.clone())];
        let filter = Filter {
            all: vec![either],
            ..Filter::default()
        };
        let near = list.items.iter();
        let near = near.filter(|edge| filter.takes(*edge, list.generated));
        let near: Vec<_> = near.take(5).map(output::edge_name).collect();
        if near.is_empty() {
            text.push_str("; `mtls edges --all -o name` lists all edges");
        } else {
            text.push_str("; there are: ");
            text.push_str(&near.join(", "));
        }
        text
    }
}
