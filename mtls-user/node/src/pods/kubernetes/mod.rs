//! The Kubernetes API as a source of names: pods with their owners and service accounts, Services
//! with their endpoints, and mesh settings of namespaces.
//!
//! There are four watches, plus those for the policies of installed meshes, and no other requests:
//! the owner of a pod follows from its own metadata. The pods are those of this node, unless the
//! whole cluster's are requested.

mod change;
mod cluster;
mod object;
mod objects;
mod pod;
mod policy;
mod service;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::mpsc;

use super::{Directory, Source};
use change::News;
use cluster::{Cluster, Meshes};
pub use pod::workload;
use watch::Watch;

/// Changes queued for the directory; a watch that is further ahead waits.
const BACKLOG: usize = 1_024;

/// How to reach the API, and what to request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// A kubeconfig; without one, the pod's own service account, if this is a pod.
    pub kubeconfig: Option<PathBuf>,
    /// This node's Kubernetes name.
    pub node: Option<String>,
    /// Whether to name the pods of all nodes.
    pub whole_cluster: bool,
    /// A Service whose pods use the host network, as `NAMESPACE/NAME`: its endpoints give the names
    /// of other nodes. A watch of the Node objects would send every node's health updates to every
    /// node.
    pub nodes_service: Option<String>,
    /// Whether to read the policies of installed meshes.
    pub policies: bool,
}

impl Options {
    /// Whether an API is configured or should be.
    pub fn wanted(&self) -> bool {
        self.kubeconfig.is_some()
            || self.whole_cluster
            || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    }
}

/// Whether a kubeconfig exists and is valid.
pub fn check(kubeconfig: &Path) -> anyhow::Result<()> {
    read(kubeconfig).map(drop)
}

fn read(kubeconfig: &Path) -> anyhow::Result<Kubeconfig> {
    let shown = || format!("--kubeconfig {}", kubeconfig.display());
    // The library's own error names the cause twice.
    std::fs::File::open(kubeconfig).with_context(shown)?;
    Kubeconfig::read_from(kubeconfig).with_context(shown)
}

/// Keeps the directory up to date for as long as the daemon runs. The directory reports errors:
/// names from the API are useful, but nothing waits for them.
pub async fn follow(directory: Arc<Directory>, options: Options) {
    if let Err(error) = Box::pin(watch_all(&directory, &options)).await {
        tracing::warn!("no names from Kubernetes: {error:#}");
        directory.fail(Source::Kubernetes, format!("{error:#}"));
    }
}

async fn watch_all(directory: &Arc<Directory>, options: &Options) -> anyhow::Result<()> {
    let selector = match (&options.node, options.whole_cluster) {
        (_, true) => None,
        (Some(node), false) => Some(format!("spec.nodeName={node}")),
        (None, false) => anyhow::bail!(
            "which node this is, is not known: give --node-name, or set NODE_NAME from \
             spec.nodeName in the pod's manifest"
        ),
    };
    let client = client(options.kubeconfig.as_deref()).await?;
    let (news, inbox) = mpsc::channel(BACKLOG);
    let whole = options.whole_cluster;
    let meshes = Meshes::new(if options.policies {
        &["istio", "linkerd"]
    } else {
        &[]
    });
    let policies = Box::pin(policies(client.clone(), news.clone(), meshes.clone()));
    tokio::join!(
        policies,
        Cluster::new(directory.clone(), options, meshes).run(inbox),
        Watch::new(client.clone(), selector, whole).run(news.clone(), News::Pods),
        Watch::new(client.clone(), None, false).run(news.clone(), News::Namespaces),
        Watch::new(client.clone(), None, false).run(news.clone(), News::Services),
        Watch::new(client, None, false).run(news, News::Slices),
    );
    Ok(())
}

/// Follows the policies of each mesh, once it has been seen.
async fn policies(client: Client, news: mpsc::Sender<News>, meshes: Meshes) {
    let istio = async {
        meshes.seen("istio").await;
        let peers = Watch::new(client.clone(), None, false);
        peers.run(news.clone(), News::PeerAuthentications).await;
    };
    let linkerd = async {
        meshes.seen("linkerd").await;
        let (servers, direct) = (client.clone(), client.clone());
        tokio::join!(
            Watch::new(servers, None, false).run(news.clone(), News::Servers),
            Watch::new(direct, None, false).run(news.clone(), News::ServerAuthorizations),
            Watch::new(client.clone(), None, false).run(news.clone(), News::AuthorizationPolicies),
        );
    };
    tokio::join!(istio, linkerd);
}

/// A client for a kubeconfig, or else for the pod's own service account.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = read(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("use the kubeconfig {}", path.display()))?
        }
        None => Config::incluster().context(
            "use the pod's service account: mount its token (automountServiceAccountToken), or \
             give --kubeconfig",
        )?,
    };
    Client::try_from(config).context("prepare a client of the Kubernetes API")
}
