//! Where records come from. Every question is asked of a [`Source`], and every source answers with
//! the same envelopes, so that a verb need not know which one it asks.
//!
//! A further source (several nodes, a store) is a variant here and a file beside this one: it gives
//! an [`EdgeList`] and a [`FlowList`] that say how much was watched, the nodes' [`Status`], and the
//! lines of the tap.

pub(crate) mod capture;
mod client;
mod file;
mod prometheus;
mod tap;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
pub(crate) use client::block_on;
use mtls_core::record::{EdgeList, EdgeRecord, FlowList, Nodes, Status, TapLine};
pub(crate) use prometheus::Question;
pub(crate) use tap::Tap;

use crate::cluster::{self, Cluster, Namespace};
use crate::usage::wrong;

/// Nobody answers: the exit code says so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoDaemon(pub(crate) String);

/// Who is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The daemon of this node, on its socket.
    Node(PathBuf),
    /// A saved answer (`-o json`, `-o jsonl`), or a capture.
    File(PathBuf),
    /// The metrics that a server has kept.
    Prometheus(Box<Question>),
    /// The daemons of a cluster, on the edges of these namespaces.
    Cluster(Box<cluster::Options>, Namespace),
}

/// The tap's lines, of one node or of all.
pub(crate) enum Lines {
    /// Of this node.
    Node(Tap),
    /// Of all that answered.
    Cluster(Box<cluster::Tap>),
}

impl Lines {
    /// The next one; an error when there are no more. Nothing is lost when this is called off.
    pub(crate) async fn next(&mut self) -> anyhow::Result<TapLine> {
        match self {
            Self::Node(tap) => tap.next().await,
            Self::Cluster(tap) => tap.next().await,
        }
    }

    /// Who tells, where all nodes were asked.
    pub(crate) fn nodes(&self) -> Option<&Nodes> {
        match self {
            Self::Node(_) => None,
            Self::Cluster(tap) => Some(&tap.nodes),
        }
    }
}

/// An answer with each edge once, and marks that its counts bear out.
fn whole(mut list: EdgeList) -> EdgeList {
    list.items = EdgeRecord::fold(list.items);
    vouched(list)
}

fn vouched(mut list: EdgeList) -> EdgeList {
    list.items.iter_mut().for_each(EdgeRecord::vouch);
    list
}

impl Source {
    /// Whether daemons are asked, which say how they are.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Node(_) | Self::Cluster(..))
    }

    /// How often it can have news for a screen; a file says the same every time.
    pub(crate) fn period(&self) -> Option<Duration> {
        match self {
            Self::Node(_) => Some(Duration::from_secs(1)),
            Self::Cluster(..) | Self::Prometheus(_) => Some(Duration::from_secs(5)),
            Self::File(_) => None,
        }
    }

    /// The edges, those of one node folded: an edge is there once.
    pub(crate) async fn edges(&self) -> anyhow::Result<EdgeList> {
        Ok(match self {
            Self::Node(socket) => whole(client::get(socket, "/v1/edges").await?),
            Self::File(path) => whole(file::read(path)?.edges(path)?),
            Self::Prometheus(question) => whole(prometheus::edges(question).await?),
            Self::Cluster(options, namespace) => {
                // A cluster's are folded as they come.
                vouched(Cluster::connect(options, namespace).await?.edges().await?)
            }
        })
    }

    /// The edges, and the connections that are remembered where it has them one by one: asked at once,
    /// and so of a file the same ones, read once.
    pub(crate) async fn both(&self) -> anyhow::Result<(EdgeList, Option<FlowList>)> {
        let Self::File(path) = self else {
            return Ok((self.edges().await?, self.flows().await.ok()));
        };
        let saved = file::read(path)?;
        let flows = saved.clone().flows(path).ok();
        Ok((whole(saved.edges(path)?), flows))
    }

    /// The connections that are remembered, the latest last.
    pub(crate) async fn flows(&self) -> anyhow::Result<FlowList> {
        match self {
            Self::Node(socket) => client::get(socket, "/v1/flows").await,
            Self::File(path) => file::read(path)?.flows(path),
            Self::Prometheus(_) => {
                wrong("metrics do not contain single connections: use `mtls edges`")
            }
            Self::Cluster(options, namespace) => {
                Cluster::connect(options, namespace).await?.flows().await
            }
        }
    }

    /// The state of whoever watches.
    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        match self {
            Self::Node(socket) => client::get(socket, "/v1/status").await,
            Self::File(path) => file::read(path)?.status(path),
            Self::Prometheus(_) => bail!("metrics do not contain the status: use `mtls edges`"),
            Self::Cluster(..) => bail!("each node of a cluster has its own status"),
        }
    }

    /// The state of each of those who watch, and which of them answered, where all were asked.
    pub(crate) async fn statuses(&self) -> anyhow::Result<(Vec<Status>, Option<Nodes>)> {
        match self {
            Self::Cluster(options, namespace) => {
                let cluster = Cluster::connect(options, namespace).await?;
                let (statuses, nodes) = cluster.statuses().await?;
                Ok((statuses, Some(nodes)))
            }
            _ => Ok((vec![self.status().await?], None)),
        }
    }

    /// The daemons' states; none if the source has none, or if they may not be queried.
    pub(crate) async fn statuses_if_any(&self) -> anyhow::Result<Vec<Status>> {
        if !self.is_live() {
            return Ok(Vec::new());
        }
        let statuses = self.statuses().await;
        Ok(statuses.map_or_else(|_| Vec::new(), |(all, _)| all))
    }

    /// The samples of all connections from now on, and what is said of these.
    pub(crate) async fn recording(&self) -> anyhow::Result<Tap> {
        match self {
            Self::Node(socket) => Ok(Tap::new(client::open(socket, "/v1/record").await?)),
            Self::File(_) => wrong("a file has no live samples"),
            Self::Prometheus(_) => wrong("metrics do not contain packets: query a node's daemon"),
            Self::Cluster(..) => wrong(
                "packets are recorded on their node: kubectl -n NAMESPACE exec POD-OF-THE-DAEMON -- mtls record -w - > FILE.pcapng",
            ),
        }
    }

    /// What happens from now on.
    pub(crate) async fn tap(&self) -> anyhow::Result<Lines> {
        match self {
            Self::Node(socket) => {
                let response = client::open(socket, "/v1/tap").await?;
                Ok(Lines::Node(Tap::new(response)))
            }
            Self::Cluster(options, namespace) => {
                let cluster = Cluster::connect(options, namespace).await?;
                Ok(Lines::Cluster(cluster.tap().await?.into()))
            }
            Self::File(path) => wrong(format!(
                "{} is a file, which has no live traffic: use `mtls flows --from {0}`",
                path.display()
            )),
            Self::Prometheus(_) => wrong("metrics have no live traffic: use `mtls edges`"),
        }
    }
}
