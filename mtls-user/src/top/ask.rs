//! The thread that asks.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};

use mtls_core::record::{EdgeList, FlowRecord, Time};

use super::News;
use super::view::Rows;
use crate::output::{Style, sort_edges};
use crate::select::Filter;
use crate::source::{Source, block_on};

/// What was answered.
pub(super) enum Answer {
    Edges(Box<Rows>),
    /// The connections that are remembered; none where the source has none.
    Flows(Vec<FlowRecord>, Time),
    /// Why there is no answer.
    Trouble(String),
}

/// Tells the asking thread what is wanted; it ends with this.
pub(super) struct Asker {
    wishes: Sender<bool>,
    wants_flows: std::cell::Cell<bool>,
}

impl Asker {
    pub(super) fn start(source: Source, filter: Filter, news: Sender<News>) -> Self {
        let (sender, wishes) = mpsc::channel();
        std::thread::spawn(move || {
            // A file says the same every time, and was read before the screen was taken.
            let Some(period) = source.period() else {
                return;
            };
            let mut wants_flows = false;
            loop {
                let wished = wishes.recv_timeout(period);
                let mut answers = Vec::new();
                match wished {
                    Ok(wanted) => {
                        wants_flows = wanted;
                        if wanted {
                            answers.push(flows(&source));
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        answers.push(match edges(&source, &filter) {
                            Ok(rows) => Answer::Edges(Box::new(rows)),
                            Err(error) => Answer::Trouble(format!("{error:#}")),
                        });
                        if wants_flows {
                            answers.push(flows(&source));
                        }
                    }
                }
                for answer in answers {
                    if news.send(News::Answer(answer)).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            wishes: sender,
            wants_flows: false.into(),
        }
    }

    /// Whether connections are wanted too, which an explanation needs.
    pub(super) fn want_flows(&self, wanted: bool) {
        if self.wants_flows.replace(wanted) != wanted {
            // The thread ends with the receiver of its answers; nothing is wanted any more then.
            let _ = self.wishes.send(wanted);
        }
    }
}

/// The edges that are asked for, ready to be shown.
pub(super) fn edges(source: &Source, filter: &Filter) -> anyhow::Result<Rows> {
    let mut list: EdgeList = block_on(source.edges())?;
    filter.apply(&mut list.items, list.generated);
    sort_edges(&mut list.items);
    Ok(Rows::new(list, Style::of_locale()))
}

pub(super) fn flows(source: &Source) -> Answer {
    match block_on(source.flows()) {
        Ok(list) => Answer::Flows(list.items, list.generated),
        // Saved edges and metrics have none; the explanation says so.
        Err(_) => Answer::Flows(Vec::new(), Time::default()),
    }
}
