//! The taps of all daemons as one.

use std::collections::{HashSet, VecDeque};

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use mtls_core::record::{Event, FlowRecord, Nodes, TapLine, Verdict, Word};
use smol_str::SmolStr;
use tokio::sync::mpsc;

use super::ask::{Open, silent};
use super::selector::Selected;
use super::{Cluster, ask};

/// Longest line taken from a daemon, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Connections remembered as reported.
const REMEMBERED: usize = 65_536;

/// A stream of lines of every node that answers.
pub(crate) struct Tap {
    lines: mpsc::Receiver<(String, anyhow::Result<TapLine>)>,
    /// Who listens, and who cannot.
    pub(crate) nodes: Nodes,
    reported: Reported,
    /// The workloads that are asked about; `None`: all.
    selected: Option<Selected>,
}

impl Cluster {
    /// Opens every daemon's tap.
    pub(crate) async fn tap(self) -> anyhow::Result<Tap> {
        use futures::StreamExt;
        let path = self.path("/v1/tap", &[]);
        let cluster = &self;
        let opened = self.daemons().iter().map(|daemon| {
            let path = &path;
            async move {
                let asked = cluster.open(daemon, path);
                let open = tokio::time::timeout(cluster.patience, asked).await;
                (
                    daemon.node.clone(),
                    open.unwrap_or_else(|_| bail!("timed out")),
                )
            }
        });
        let mut opened = futures::stream::iter(opened).buffer_unordered(ask::IN_FLIGHT);
        let (sender, lines) = mpsc::channel(1_024);
        let mut nodes = self.nodes();
        while let Some((node, open)) = opened.next().await {
            match open {
                Ok(open) => {
                    nodes.answered += 1;
                    tokio::spawn(follow(node, open, sender.clone()));
                }
                Err(error) => nodes.silent.push(silent(&node, &error)),
            }
        }
        drop(opened);
        nodes.silent.sort_by(|a, b| a.node.cmp(&b.node));
        self.somebody(&nodes)?;
        Ok(Tap {
            lines,
            nodes,
            reported: Reported::default(),
            selected: self.selected,
        })
    }
}

impl Tap {
    /// The next line that says something new: what both nodes of a connection report is returned once. A
    /// node whose tap ends is reported on stderr; it is an error when there are no more.
    pub(crate) async fn next(&mut self) -> anyhow::Result<TapLine> {
        loop {
            match self.lines.recv().await {
                Some((_, Ok(TapLine::Flow(flow)))) => {
                    let ends = [&flow.src, &flow.dst];
                    let selected = self.selected.as_ref();
                    if selected.is_none_or(|one| one.takes(ends)) && self.reported.is_news(&flow) {
                        return Ok(TapLine::Flow(flow));
                    }
                }
                Some((_, Ok(line))) => return Ok(line),
                Some((node, Err(error))) => {
                    eprintln!(
                        "mtls: {}: {}",
                        crate::output::safe(&node),
                        crate::output::safe(&format!("{error:#}"))
                    );
                }
                None => bail!("all daemons have closed their streams"),
            }
        }
    }
}

async fn follow(
    node: String,
    mut open: Open,
    lines: mpsc::Sender<(String, anyhow::Result<TapLine>)>,
) {
    let mut buffer = Vec::new();
    loop {
        let outcome = read(&mut open, &mut buffer, &node, &lines).await;
        match outcome {
            Ok(true) => {}
            // Nobody listens any more.
            Ok(false) => return,
            Err(error) => {
                let _ = lines.send((node, Err(error))).await;
                return;
            }
        }
    }
}

/// Reads a little, and passes on the lines that are complete.
async fn read(
    open: &mut Open,
    buffer: &mut Vec<u8>,
    node: &str,
    lines: &mpsc::Sender<(String, anyhow::Result<TapLine>)>,
) -> anyhow::Result<bool> {
    let frame = open.response.frame().await.context("its daemon stopped")?;
    let frame = frame.context("its daemon stopped")?;
    if let Some(data) = frame.data_ref() {
        buffer.extend_from_slice(data);
    }
    let mut start = 0;
    while let Some(length) = buffer[start..].iter().position(|byte| *byte == b'\n') {
        let line = TapLine::read(&buffer[start..start + length])
            .context("its answer is not understood: is the daemon of the same version?")?;
        if lines.send((node.to_owned(), Ok(line))).await.is_err() {
            return Ok(false);
        }
        start += length + 1;
    }
    buffer.drain(..start);
    if buffer.len() > MAX_LINE {
        bail!("its daemon sent a line longer than 1 MiB");
    }
    Ok(true)
}

/// What has been reported of a connection: by whichever node was first.
#[derive(Default)]
struct Reported {
    all: HashSet<(SmolStr, Option<Word<Event>>, Word<Verdict>)>,
    order: VecDeque<(SmolStr, Option<Word<Event>>, Word<Verdict>)>,
}

impl Reported {
    /// Another verdict of the other node is news: both are reported.
    fn is_news(&mut self, flow: &FlowRecord) -> bool {
        let Some(id) = &flow.id else {
            return true;
        };
        let what = (id.clone(), flow.event.clone(), flow.verdict.clone());
        // The same node may say more with the same words.
        if flow.event == Some(Event::Updated.into()) {
            return true;
        }
        if !self.all.insert(what.clone()) {
            return false;
        }
        self.order.push_back(what);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_nodes_report_is_shown_once_and_what_they_disagree_on_twice() {
        let flow = |id: Option<&str>, event: Event, verdict: Verdict| FlowRecord {
            id: id.map(Into::into),
            event: Some(event.into()),
            verdict: verdict.into(),
            ..FlowRecord::default()
        };
        let mut reported = Reported::default();
        let mtls = flow(Some("1"), Event::Classified, Verdict::Mtls);
        assert!(reported.is_news(&mtls));
        assert!(!reported.is_news(&mtls));
        assert!(reported.is_news(&flow(Some("1"), Event::Classified, Verdict::Plaintext)));
        assert!(reported.is_news(&flow(Some("2"), Event::Classified, Verdict::Mtls)));
        let unknown = flow(None, Event::Classified, Verdict::Mtls);
        assert!(reported.is_news(&unknown) && reported.is_news(&unknown));
        for n in 0..2 * REMEMBERED {
            let id = n.to_string();
            reported.is_news(&flow(Some(&id), Event::Closed, Verdict::Mtls));
        }
        assert!(reported.all.len() <= REMEMBERED + 1 && reported.order.len() <= REMEMBERED + 1);
    }
}
