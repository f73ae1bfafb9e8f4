//! What an auditor takes away: one page that needs nothing else, the same as CSV and JSON, and a
//! manifest of their sums that can be signed.

mod coverage;
mod matrix;
mod method;
mod page;
mod sign;
mod write;

#[cfg(test)]
mod tests;

use mtls_core::record::{
    EdgeList, EdgeRecord, Explanation, FlowList, List, Mark, Nodes, Status, Time,
};

use crate::explain;
use crate::output::sort_edges;
use crate::select::Filter;
use crate::source::Source;

pub(crate) use sign::Key;
pub(crate) use write::{check, write};

/// Most edges that are explained; beyond it they are listed only.
const MOST_FINDINGS: usize = 200;

/// Everything that a report is made of.
#[derive(Debug)]
pub(crate) struct Report {
    /// When it was made.
    made: Time,
    /// Who was asked, in words.
    source: String,
    /// How it was asked for, as it was typed.
    command: String,
    /// Nothing was filtered.
    is_of_all: bool,
    /// The edges, the worst first.
    edges: EdgeList,
    /// The connections that are remembered; `None` where the source has none.
    flows: Option<FlowList>,
    /// The daemons; none of a file.
    statuses: Vec<Status>,
    /// What is not mutual TLS, and why, the worst first.
    findings: List<Explanation>,
    /// Findings that are not among these.
    more_findings: usize,
}

/// What is asked, and in which words.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) source: &'a Source,
    pub(crate) filter: &'a Filter,
    /// The command line.
    pub(crate) command: String,
}

/// Asks for everything.
pub(crate) async fn gather(question: &Question<'_>) -> anyhow::Result<Report> {
    let Question { source, filter, .. } = question;
    // Saved edges and metrics have no connections; the page says so.
    let (mut edges, mut flows) = source.both().await?;
    filter.apply(&mut edges.items, edges.generated);
    sort_edges(&mut edges.items);
    if let Some(flows) = &mut flows {
        filter.apply(&mut flows.items, flows.generated);
    }
    let statuses = source.statuses_if_any().await?;
    let made = Time::from_nanos(mtls_node::clock::now());
    let source = match source {
        Source::Node(_) => "the daemon of this node".to_owned(),
        Source::File(path) => format!("the file {}", path.display()),
        Source::Prometheus(_) => "metrics that a Prometheus server has kept".to_owned(),
        Source::Cluster(..) => "the daemons of a cluster".to_owned(),
    };
    let asked = Asked {
        made,
        source,
        command: question.command.clone(),
        is_of_all: filter.is_empty(),
    };
    Ok(Report::new(asked, edges, flows, statuses))
}

/// When and how it was asked.
struct Asked {
    made: Time,
    source: String,
    command: String,
    is_of_all: bool,
}

impl Report {
    fn new(asked: Asked, edges: EdgeList, flows: Option<FlowList>, statuses: Vec<Status>) -> Self {
        let open = edges.items.iter().filter(|edge| is_finding(edge));
        let remembered = flows.as_ref().map_or(&[][..], |flows| &flows.items);
        let items: Vec<_> = open
            .clone()
            .take(MOST_FINDINGS)
            .map(|edge| explain::edge_among(edge.clone(), remembered, edges.generated))
            .collect();
        let more_findings = open.count() - items.len();
        Self {
            made: asked.made,
            source: asked.source,
            command: asked.command,
            is_of_all: asked.is_of_all,
            findings: List::new(edges.node.clone(), edges.generated, items),
            more_findings,
            edges,
            flows,
            statuses,
        }
    }

    /// How much was seen, and what was not.
    pub(crate) fn coverage(&self) -> (Vec<(String, String)>, Vec<String>) {
        (coverage::facts(self), coverage::gaps(self))
    }

    /// Which nodes answered, where all were asked.
    pub(crate) fn nodes(&self) -> Option<&Nodes> {
        self.edges.nodes.as_ref()
    }
}

/// Whatever is not known to be mutual, unless it is exempt.
fn is_finding(edge: &EdgeRecord) -> bool {
    edge.mark.as_ref().is_some_and(|mark| *mark != Mark::Mutual)
}
