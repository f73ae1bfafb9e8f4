//! The daemons of a whole cluster as one source of records: each is asked through `pods/portforward`,
//! with a token that the API server lets them check. Nothing else runs in the cluster for it.

mod ask;
mod client;
mod doctor;
mod find;
mod flows;
mod selector;
mod tap;
mod token;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use mtls_core::record::identities::NodeEdges;
use mtls_core::record::{self, EdgeList, Nodes, Peer, Status};

pub(crate) use ask::line;
pub(crate) use doctor::checks;
pub(crate) use tap::Tap;

/// Which cluster, and how to find and query its daemons.
#[derive(Clone, PartialEq, Eq, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster (instead of this node's daemon)")]
pub(crate) struct Options {
    /// Query the cluster of this kubeconfig context.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig file [default: $KUBECONFIG, then ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The namespace of the daemons [default: the one labelled mtls.internal/daemons=true].
    #[arg(
        long,
        global = true,
        env = "MTLS_DAEMON_NAMESPACE",
        value_name = "NAME"
    )]
    pub(crate) daemon_namespace: Option<String>,
    /// Use a token of this service account [default: the chart's viewer, in the daemons' namespace or
    /// else in the namespace that is queried].
    #[arg(long, global = true, value_name = "NAMESPACE/NAME", value_parser = token::account)]
    pub(crate) as_account: Option<token::Account>,
    /// Use the token in this file; its audience must be `mtls`.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "as_account"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Only if the client or the server has a pod with these labels, as with kubectl: app=web,tier!=db.
    #[arg(short = 'l', long, global = true, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Seconds to wait for each daemon's answer.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) node_timeout: u64,
}

impl Options {
    /// Whether anything was said that only a cluster has.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.context.is_some()
            || self.kubeconfig.is_some()
            || self.daemon_namespace.is_some()
            || self.as_account.is_some()
            || self.token_file.is_some()
            || self.selector.is_some()
    }
}

/// Nobody answers: the exit code says so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(String);

/// Which namespaces are asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Namespace {
    /// All.
    All,
    /// This one.
    One(String),
    /// The one of the kubeconfig's context, as kubectl does.
    OfContext,
}

/// Connections that all daemons together may report, and one at the least and at the most.
const CONNECTIONS: (usize, usize, usize) = (2 << 20, 1 << 10, 1 << 16);

/// A cluster whose daemons can be asked.
pub(crate) struct Cluster {
    client: Client,
    daemons: find::Daemons,
    token: String,
    /// The one namespace that is asked about; `None`: all.
    namespace: Option<String>,
    /// The workloads that are asked about; `None`: all.
    selected: Option<selector::Selected>,
    patience: Duration,
}

impl Cluster {
    /// Finds the daemons, and a token to ask them with.
    pub(crate) async fn connect(options: &Options, namespace: &Namespace) -> anyhow::Result<Self> {
        let (client, of_context) = client::new(options).await?;
        let namespace = match namespace {
            Namespace::All => None,
            Namespace::One(name) => Some(name.clone()),
            Namespace::OfContext => Some(of_context),
        };
        let named = options.daemon_namespace.as_deref();
        let daemons = find::daemons(&client, named).await?;
        let token = token::obtain(&client, options, &daemons, namespace.as_deref()).await?;
        let selected = match &options.selector {
            Some(labels) => Some(select(&client, namespace.as_deref(), labels).await?),
            None => None,
        };
        Ok(Self {
            client,
            daemons,
            token,
            namespace,
            selected,
            patience: Duration::from_secs(options.node_timeout),
        })
    }

    /// The edges of all nodes, each connection counted once.
    pub(crate) async fn edges(&self) -> anyhow::Result<EdgeList> {
        let (all, least, most) = CONNECTIONS;
        let each = (all / self.daemons.all.len().max(1)).clamp(least, most);
        let path = self.path("/v1/edges", &[format!("connections={each}")]);
        let mut joiner = record::Joiner::default();
        let nodes = self
            .ask_each::<NodeEdges>(&path, |one| joiner.add(one))
            .await;
        self.somebody(&nodes)?;
        let mut list = joiner.finish(nodes);
        list.items.retain(|edge| self.takes([&edge.src, &edge.dst]));
        Ok(list)
    }

    /// Whether one of the ends is asked about, as far as labels say.
    fn takes(&self, ends: [&Peer; 2]) -> bool {
        let selected = self.selected.as_ref();
        selected.is_none_or(|selected| selected.takes(ends))
    }

    /// How every daemon is.
    pub(crate) async fn statuses(&self) -> anyhow::Result<(Vec<Status>, Nodes)> {
        anyhow::ensure!(
            self.selected.is_none(),
            "-l is of pods, and nodes have a status"
        );
        let mut asked = self.ask::<Status>("/v1/status").await;
        self.somebody(&asked.nodes)?;
        asked.answers.sort_by(|a, b| a.node.cmp(&b.node));
        Ok((asked.answers, asked.nodes))
    }

    /// It is an error when nobody answered.
    fn somebody(&self, nodes: &Nodes) -> anyhow::Result<()> {
        if nodes.answered > 0 {
            return Ok(());
        }
        let place = format!("{}/{}", self.daemons.namespace, self.daemons.name);
        Err(NoAnswer(format!("no daemon of {place} answers: {}", line(nodes))).into())
    }

    /// How the path asks for the namespace.
    fn path(&self, path: &str, others: &[String]) -> String {
        // What is no namespace's name is refused by the daemon; here it must not become more than a
        // value.
        let namespace = self.namespace.as_deref();
        let namespace = namespace.map(|name| format!("namespace={}", encoded(name)));
        let query: Vec<_> = namespace
            .into_iter()
            .chain(others.iter().cloned())
            .collect();
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }
}

/// The workloads with these labels. That there are none is worth a word: nothing will be shown.
async fn select(
    client: &Client,
    namespace: Option<&str>,
    labels: &str,
) -> anyhow::Result<selector::Selected> {
    let selected = selector::Selected::of(client, namespace, labels).await?;
    if selected.len() == 0 {
        let place = namespace.unwrap_or("any namespace");
        eprintln!("mtls: no pod in {place} has the labels {labels}");
    }
    Ok(selected)
}

/// As a value in a query (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_namespace_is_a_value_and_nothing_more() {
        assert_eq!(super::encoded("shop-1"), "shop-1");
        assert_eq!(super::encoded("a&b=c d\r\n#"), "a%26b%3Dc%20d%0D%0A%23");
    }
}
