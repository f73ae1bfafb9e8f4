//! `mtls check`: exits with 0 if the edges meet the rules, 1 if one does not, 4 if not enough was seen
//! to decide.

use std::process::ExitCode;

use mtls_core::record::{EdgeList, Gate};

use super::args::Check;
use crate::gate::{self, Enough, Rules};
use crate::source::{Source, block_on};
use crate::usage::{Usage, wrong};

/// Not enough was seen.
const NOT_ENOUGH: u8 = 4;

pub(super) fn run(args: &Check, whom: &Source) -> anyhow::Result<ExitCode> {
    let source = args.select.source(whom)?;
    let begun = begin(args, &source)?;
    let mut list = block_on(source.edges())?;
    // Files are read before anything is judged: a wrong one is no verdict.
    let mut rules = Rules::new(args.require, args.min_tls);
    if let Some(path) = &args.rules {
        rules = rules
            .read(path, list.generated)
            .map_err(|error| unreadable(&error))?;
    }
    if let Some(path) = &args.allow {
        rules
            .allow(path, list.generated)
            .map_err(|error| unreadable(&error))?;
    }
    let filter = args.select.filter();
    super::filter(&filter, &mut list.items, list.generated, "edge");
    let enough = Enough {
        flows: args.min_flows,
        partial: args.accept_partial,
        since: begun
            .map(|list| list.generated)
            .or(filter.since.map(|since| since.time(list.generated))),
    };
    let report = if args.strict_ready {
        let statuses = block_on(source.statuses_if_any())?;
        gate::ready(&list, args.select.namespaces(), &statuses, enough)
    } else {
        gate::check(&list, &rules, enough)
    };
    super::print(&gate::write(&report, args.output)?)?;
    // The exit code is the gate's, which takes a silent node into account.
    let _ = super::answered(list.nodes.as_ref());
    if args.strict_ready && args.output == gate::Report::Text {
        if report.namespaces.is_empty() {
            super::print(NOT_SAID)?;
        }
        super::print(NOT_SEEN)?;
    }
    Ok(match report.outcome.known() {
        Some(Gate::Pass) => ExitCode::SUCCESS,
        Some(Gate::Violation) => ExitCode::FAILURE,
        Some(Gate::NotEnough) | None => ExitCode::from(NOT_ENOUGH),
    })
}

/// A file of rules that cannot be read is wrong usage, and must not look like a violation.
fn unreadable(error: &anyhow::Error) -> Usage {
    Usage(format!("{error:#}"))
}

const NOT_SAID: &str = "unknown: how many of the servers' pods were watched, and since when\n";

/// What no observer of packets can promise.
const NOT_SEEN: &str = "not covered: clients that did not connect in this time; pods of other nodes; \
traffic inside a pod; whether the mutual TLS is the mesh's or the application's\n";

/// With `--for`: waits, and returns what was seen before.
fn begin(args: &Check, source: &Source) -> anyhow::Result<Option<EdgeList>> {
    let Some(wait) = args.wait else {
        return Ok(None);
    };
    if !source.is_live() {
        return wrong("--for waits for traffic: it needs a daemon, not a file or --prometheus");
    }
    let list = block_on(source.edges())?;
    std::thread::sleep(wait);
    Ok(Some(list))
}
