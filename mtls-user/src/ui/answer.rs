//! The latest answer of the source, asked for anew when somebody wants it and it is old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mtls_core::record::EdgeList;
use tokio::sync::Mutex;

use crate::source::{Source, block_on};

/// The edges, and when they were asked for.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) list: Arc<EdgeList>,
    asked: Instant,
}

/// Asked by one at a time, however many pages are open.
pub(super) struct Answers {
    latest: Mutex<Answer>,
    period: Option<Duration>,
}

impl Answers {
    /// Asks for the first time.
    pub(super) async fn new(source: &Source) -> anyhow::Result<Self> {
        Ok(Self {
            latest: Mutex::new(ask(source).await?),
            period: source.period(),
        })
    }

    /// An answer that is not older than a period; the error of the source otherwise.
    pub(super) async fn get(&self, source: &Source) -> anyhow::Result<Arc<EdgeList>> {
        let mut latest = self.latest.lock().await;
        let is_old = self
            .period
            .is_some_and(|period| latest.asked.elapsed() >= period);
        if is_old {
            *latest = ask(source).await?;
        }
        Ok(latest.list.clone())
    }

    /// How often something can be new; never in a file.
    pub(super) fn period(&self) -> Option<Duration> {
        self.period
    }
}

async fn ask(source: &Source) -> anyhow::Result<Answer> {
    let mut list = super::ask::ask(source, |source| block_on(source.edges())).await?;
    crate::output::sort_edges(&mut list.items);
    Ok(Answer {
        list: Arc::new(list),
        asked: Instant::now(),
    })
}
