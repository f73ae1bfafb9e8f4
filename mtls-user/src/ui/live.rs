//! What is sent as it happens, as server-sent events.

use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use axum::extract::{Query as Asked, State as Of};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use mtls_core::record::{EdgeList, TapLine};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;

use super::State;
use super::query::Query;
use crate::graph;
use crate::output::{Screen, Style, safe_long, tap_line};
use crate::select::Filter;

/// Most streams at a time.
pub(super) const MOST: usize = 16;

/// A line of the tap.
#[derive(Serialize)]
struct Tapped {
    class: &'static str,
    line: String,
}

/// `edges` whenever the answer is another one, `trouble` when there is none.
pub(super) async fn events(Of(state): Of<Arc<State>>) -> Response {
    let Ok(permit) = state.streams.clone().try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let start = (state, permit, None::<u64>, false);
    answered(unfold(
        start,
        |(state, permit, mut known, mut begun)| async move {
            loop {
                if begun {
                    match state.answers.period() {
                        Some(period) => tokio::time::sleep(period).await,
                        // A file says the same for ever.
                        None => std::future::pending().await,
                    }
                }
                begun = true;
                let event = match state.answers.get(&state.source).await {
                    Ok(list) => {
                        let now = sum(&list);
                        if known.replace(now) == Some(now) {
                            continue;
                        }
                        Event::default()
                            .event("edges")
                            .data(list.generated.to_string())
                    }
                    Err(error) => {
                        known = None;
                        trouble(&error)
                    }
                };
                return Some((Ok(event), (state, permit, known, begun)));
            }
        },
    ))
}

/// What changes when the answer is another one.
fn sum(list: &EdgeList) -> u64 {
    let mut hasher = DefaultHasher::new();
    for edge in &list.items {
        (edge.key(), edge.connections, edge.open_connections).hash(&mut hasher);
        (
            edge.mark.as_ref().map(mtls_core::record::Word::as_str),
            edge.last_seen,
        )
            .hash(&mut hasher);
    }
    hasher.finish()
}

/// The tap: a message a connection, `missed` where some were lost, `trouble` at its end.
pub(super) async fn tap(Of(state): Of<Arc<State>>, Asked(query): Asked<Query>) -> Response {
    let filter = match query.filter() {
        Ok(filter) => filter,
        Err(wrong) => return (StatusCode::BAD_REQUEST, safe_long(&wrong)).into_response(),
    };
    let Ok(permit) = state.streams.clone().try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let lines = super::ask::tap(&state.source);
    answered(unfold((state, permit, filter, lines), next))
}

type Taps = (
    Arc<State>,
    OwnedSemaphorePermit,
    Filter,
    Receiver<anyhow::Result<TapLine>>,
);

async fn next(
    (state, permit, filter, mut lines): Taps,
) -> Option<(Result<Event, Infallible>, Taps)> {
    loop {
        let event = match lines.recv().await? {
            Ok(TapLine::Flow(flow)) => {
                let is_taken = [&filter, &state.filter]
                    .iter()
                    .all(|filter| filter.takes(&*flow, flow.last_seen));
                if !is_taken {
                    continue;
                }
                let tapped = Tapped {
                    class: graph::class(flow.mark().map(Into::into).as_ref()),
                    line: tap_line(&flow, Style::Unicode, Screen::default()),
                };
                let Ok(event) = Event::default().json_data(tapped) else {
                    continue;
                };
                event
            }
            Ok(TapLine::Missed(missed)) => {
                let text = format!("missed {} events: too many at a time", missed.missed);
                Event::default().event("missed").data(text)
            }
            Err(error) => trouble(&error),
        };
        return Some((Ok(event), (state, permit, filter, lines)));
    }
}

fn trouble(error: &anyhow::Error) -> Event {
    Event::default()
        .event("trouble")
        .data(safe_long(&format!("{error:#}")))
}

fn answered(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response()
}
