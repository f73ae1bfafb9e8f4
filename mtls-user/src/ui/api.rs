//! What the page asks for.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query as Asked, State as Of};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mtls_core::record::{EdgeList, EdgeRecord, Explanation, Time};
use serde::Serialize;

use super::State;
use super::ask::ask;
use super::query::Query;
use crate::output::{Style, edge_cells, edge_name, edges_summary, end_path, safe, safe_long};
use crate::source::block_on;
use crate::{explain, graph, report};

const HTML: &str = include_str!("../../templates/ui/index.html");
const SCRIPT: &str = include_str!("../../templates/ui/app.js");
const STYLE: &str = include_str!("../../templates/ui/style.css");
/// Most rows of an answer: a page with more is no use, and slow.
const MOST_ROWS: usize = 1_000;

/// Why there is no answer.
pub(super) struct Refused(StatusCode, String);

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, safe_long(&self.1)).into_response()
    }
}

/// The table.
#[derive(Serialize)]
struct Table {
    generated: Time,
    summary: String,
    namespaces: BTreeSet<String>,
    /// All edges, and those that the filters take.
    edges: usize,
    taken: usize,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// As `mtls explain` takes it.
    id: String,
    class: &'static str,
    /// As the graph has them.
    from: String,
    to: String,
    cells: [String; 9],
}

/// The facts, and what is missing.
#[derive(Serialize)]
struct Coverage {
    facts: Vec<(String, String)>,
    gaps: Vec<String>,
}

pub(super) async fn index() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], HTML).into_response()
}

pub(super) async fn script() -> Response {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        SCRIPT,
    )
        .into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// The edges that are asked for, the worst first, and the whole answer.
async fn taken(state: &State, query: &Query) -> Result<(Arc<EdgeList>, Vec<EdgeRecord>), Refused> {
    let filter = query
        .filter()
        .map_err(|wrong| Refused(StatusCode::BAD_REQUEST, wrong))?;
    let typed = query.typed();
    let list = state.answers.get(&state.source).await?;
    let now = list.generated;
    let mut edges: Vec<_> = list
        .items
        .iter()
        .filter(|edge| {
            let exempt = edge.mark.is_none() && !query.all();
            let text = || {
                let cells = edge_cells(edge, Style::Unicode, now.as_nanos());
                cells.join(" ").to_lowercase()
            };
            !exempt && filter.takes(*edge, now) && typed.takes(&text())
        })
        .cloned()
        .collect();
    state.filter.apply(&mut edges, now);
    Ok((list, edges))
}

pub(super) async fn edges(
    Of(state): Of<Arc<State>>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let (list, edges) = taken(&state, &query).await?;
    let namespaces = list.items.iter().flat_map(|edge| [&edge.src, &edge.dst]);
    let rows = edges.iter().take(MOST_ROWS).map(|edge| Row {
        id: edge_name(edge),
        class: graph::class(edge.mark.as_ref()),
        from: end_path(&edge.src),
        to: end_path(&edge.dst),
        cells: edge_cells(edge, Style::Unicode, list.generated.as_nanos()),
    });
    Ok(Json(Table {
        generated: list.generated,
        summary: edges_summary(&list),
        namespaces: namespaces
            .filter_map(|peer| peer.namespace())
            .map(|name| safe(name).into_owned())
            .collect(),
        edges: list.items.len(),
        taken: edges.len(),
        rows: rows.collect(),
    })
    .into_response())
}

pub(super) async fn graph(
    Of(state): Of<Arc<State>>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let (_, edges) = taken(&state, &query).await?;
    let graph = graph::draw(&edges, false)?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], graph.svg).into_response())
}

pub(super) async fn explain(
    Of(state): Of<Arc<State>>,
    Asked(query): Asked<Query>,
) -> Result<Json<Explanation>, Refused> {
    let list = state.answers.get(&state.source).await?;
    let mut edges = list.items.clone();
    state.filter.apply(&mut edges, list.generated);
    let edge = edges.into_iter().find(|edge| edge_name(edge) == query.edge);
    let gone = || {
        Refused(
            StatusCode::NOT_FOUND,
            "this edge is not there any more".into(),
        )
    };
    let edge = edge.ok_or_else(gone)?;
    // Saved edges and metrics have no connections; the explanation says so.
    let flows = ask(&state.source, |source| block_on(source.flows())).await;
    let flows = flows.map(|list| list.items).unwrap_or_default();
    let mut explained = explain::edge_among(edge, &flows, list.generated);
    for lines in [
        &mut explained.evidence,
        &mut explained.not_seen,
        &mut explained.would_change,
        &mut explained.next,
    ] {
        for line in lines {
            *line = safe_long(line);
        }
    }
    explained.summary = safe_long(&explained.summary);
    Ok(Json(explained))
}

pub(super) async fn coverage(Of(state): Of<Arc<State>>) -> Result<Response, Refused> {
    let filter = state.filter.clone();
    let report = ask(&state.source, move |source| {
        let question = report::Question {
            source,
            filter: &filter,
            command: String::new(),
        };
        block_on(report::gather(&question))
    });
    let (facts, gaps) = report.await?.coverage();
    Ok(Json(Coverage { facts, gaps }).into_response())
}
