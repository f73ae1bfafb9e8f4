//! One question to every daemon at once, and an honest account of who answered it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Portforwarder};
use mtls_core::record::{Nodes, SilentNode};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::Cluster;
use super::find::Daemon;
use crate::output::safe;

/// Daemons that are asked at a time.
pub(super) const IN_FLIGHT: usize = 64;
/// Answers that are read at a time, of those that have begun: each is in memory as a whole.
const READING: usize = 8;
/// How long an answer that has begun may wait to be read. A daemon closes the connection after 15 s.
const WAITS: Duration = Duration::from_secs(5);
/// Silent nodes that are named.
const NAMED: usize = 20;
/// Longest answer of one, in bytes.
const LONGEST: usize = 256 << 20;

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    /// The answers.
    pub(crate) answers: Vec<T>,
    /// Who answered.
    pub(crate) nodes: Nodes,
}

/// `38 of 40 nodes answered; node-7: connection refused; node-9: timed out`.
pub(crate) fn line(nodes: &Nodes) -> String {
    let silent = nodes.silent.len() as u64;
    let of = nodes.answered + silent + nodes.missing;
    let mut line = format!("{} of {of} nodes answered", nodes.answered);
    for one in nodes.silent.iter().take(NAMED) {
        line.extend(["; ", &safe(&one.node), ": ", &safe(&one.reason)]);
    }
    if nodes.silent.len() > NAMED {
        let more = nodes.silent.len() - NAMED;
        line.extend(["; ", &more.to_string(), " more did not"]);
    }
    match nodes.missing {
        0 => {}
        1 => line.push_str("; one node has no daemon"),
        n => line.extend(["; ", &n.to_string(), " nodes have no daemon"]),
    }
    line
}

/// An answer that is being read. The way to the pod ends with it.
pub(super) struct Open {
    pub(super) response: Response<Incoming>,
    _way: Way,
}

/// A forwarded port.
struct Way(Portforwarder);

impl Drop for Way {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cluster {
    /// Asks every daemon for `path`, at most [`IN_FLIGHT`] at a time; the answers together.
    pub(super) async fn ask<T>(&self, path: &str) -> Asked<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut answers = Vec::new();
        let nodes = self.ask_each(path, |answer| answers.push(answer)).await;
        Asked { answers, nodes }
    }

    /// The same, each answer as it comes: those of a large cluster are too much to be kept.
    pub(super) async fn ask_each<T>(&self, path: &str, mut take: impl FnMut(T)) -> Nodes
    where
        T: DeserializeOwned + Send + 'static,
    {
        let reading = Semaphore::new(READING);
        let bar = progress(self.daemons.all.len());
        let asked = self.daemons.all.iter().map(|daemon| {
            let reading = &reading;
            async move { (daemon, self.one::<T>(daemon, path, reading).await) }
        });
        let mut asked = futures::stream::iter(asked).buffer_unordered(IN_FLIGHT);
        let mut nodes = self.nodes();
        while let Some((daemon, outcome)) = asked.next().await {
            match outcome {
                Ok(answer) => {
                    take(answer);
                    nodes.answered += 1;
                }
                Err(error) => nodes.silent.push(silent(&daemon.node, &error)),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        nodes.silent.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    async fn one<T>(&self, daemon: &Daemon, path: &str, reading: &Semaphore) -> anyhow::Result<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut open = in_time(self.patience, self.open(daemon, path)).await?;
        let begun = Instant::now();
        // The time for which it waits for its turn is not the daemon's.
        let _turn = reading.acquire().await.context("read the answer")?;
        if begun.elapsed() > WAITS {
            // The daemon may have given up: it is asked again, and now the answer is read at once.
            drop(open);
            open = in_time(self.patience, self.open(daemon, path)).await?;
        }
        let answer = async {
            let body = Limited::new(open.response.into_body(), LONGEST);
            let body = body.collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
            let body = body.to_bytes();
            // Answers are large: they are read beside each other.
            let read = tokio::task::spawn_blocking(move || serde_json::from_slice(&body));
            let read = read.await.context("read the answer")?;
            read.context(
                "the answer is not understood: is the daemon of the same version as this program?",
            )
        };
        in_time(self.patience, answer).await
    }

    /// Asks one daemon, whose answer is yet to be read.
    pub(super) async fn open(&self, daemon: &Daemon, path: &str) -> anyhow::Result<Open> {
        if let Some(trouble) = &daemon.trouble {
            bail!("{trouble}");
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.daemons.namespace);
        let port = self.daemons.port;
        let mut way = Way(pods
            .portforward(&daemon.pod, &[port])
            .await
            .map_err(forwarding)?);
        let stream = way.0.take_stream(port).context("no stream to the pod")?;
        let trouble = way.0.take_error(port);
        let asked = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let request = Request::get(path)
                .header(header::HOST, "mtls")
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                .body(Empty::<Bytes>::new())?;
            anyhow::Ok(sender.send_request(request).await?)
        };
        let trouble = async {
            match trouble {
                Some(trouble) => trouble.await,
                None => None,
            }
        };
        let mut asked = std::pin::pin!(asked);
        let response = tokio::select! {
            response = &mut asked => response.context("the connection to the daemon"),
            trouble = trouble => match trouble {
                Some(text) => bail!("{}", short(&text)),
                // The way is as it should be: its news end with it.
                None => asked.await.context("the connection to the daemon"),
            },
        }?;
        match response.status() {
            StatusCode::OK => Ok(Open {
                response,
                _way: way,
            }),
            StatusCode::UNAUTHORIZED => bail!("the daemon does not take the token"),
            StatusCode::FORBIDDEN => bail!(
                "you may not see this{}",
                if self.namespace.is_none() {
                    " of all namespaces: ask about one with -n"
                } else {
                    ""
                }
            ),
            StatusCode::SERVICE_UNAVAILABLE => {
                bail!("the daemon cannot ask the Kubernetes API about you now")
            }
            StatusCode::TOO_MANY_REQUESTS => bail!("the daemon is asked too much at once"),
            other => bail!("the daemon answers {other}"),
        }
    }

    /// Of whom nobody has answered yet.
    pub(super) fn nodes(&self) -> Nodes {
        Nodes {
            missing: self.daemons.missing as u64,
            ..Nodes::default()
        }
    }

    /// The daemons.
    pub(super) fn daemons(&self) -> &[Daemon] {
        &self.daemons.all
    }
}

/// A node that does not answer.
pub(super) fn silent(node: &str, error: &anyhow::Error) -> SilentNode {
    SilentNode {
        node: node.into(),
        reason: format!("{error:#}"),
    }
}

fn forwarding(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(error) if error.code == 403 => {
            anyhow::anyhow!("you may not forward ports of it (pods/portforward)")
        }
        error => anyhow::anyhow!("forward a port of its pod: {error}"),
    }
}

/// What the kubelet says of a port that leads nowhere is long; its end is what counts.
fn short(text: &str) -> String {
    for known in ["connection refused", "not found", "no such host"] {
        if text.contains(known) {
            return known.into();
        }
    }
    text.trim().chars().take(200).collect()
}

async fn in_time<T>(
    patience: Duration,
    what: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let done = tokio::time::timeout(patience, what).await;
    done.unwrap_or_else(|_| bail!("timed out after {} s", patience.as_secs_f64()))
}

fn progress(nodes: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(nodes as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} nodes answered {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_who_did_not_answer_and_why() {
        let mut nodes = Nodes {
            answered: 38,
            ..Nodes::default()
        };
        assert!(nodes.all());
        assert_eq!(line(&nodes), "38 of 38 nodes answered");
        for (node, why) in [("node-7", "connection refused"), ("node-9", "timed out")] {
            nodes.silent.push(silent(node, &anyhow::anyhow!(why)));
        }
        assert!(!nodes.all());
        assert_eq!(
            line(&nodes),
            "38 of 40 nodes answered; node-7: connection refused; node-9: timed out"
        );
        nodes.missing = 2;
        assert!(line(&nodes).ends_with("; 2 nodes have no daemon"));
        for n in 0..30 {
            let wicked = format!("m{n}\u{1b}[31m");
            nodes.silent.push(silent(&wicked, &anyhow::anyhow!("x")));
        }
        assert!(line(&nodes).contains("; 12 more did not"));
        assert!(!line(&nodes).contains('\u{1b}'));
    }

    #[test]
    fn a_refused_connection_is_told_in_two_words() {
        let said = "error forwarding port 9847 to pod abc, uid : failed to execute portforward in \
                    network namespace: failed to connect to localhost:9847 inside namespace abc, \
                    IPv4: dial tcp4 127.0.0.1:9847: connect: connection refused";
        assert_eq!(short(said), "connection refused");
        assert_eq!(short("something else\n"), "something else");
    }
}
