//! One connection to a container runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures::{StreamExt, stream};
use hashbrown::{HashMap, HashSet};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint, Uri};

use super::runtime_v1::runtime_service_client::RuntimeServiceClient;
use super::runtime_v1::{
    GetEventsRequest, ListContainersRequest, ListPodSandboxRequest, PodSandboxFilter,
    PodSandboxState, PodSandboxStateValue, PodSandboxStatusRequest, VersionRequest,
};
use super::sandbox::{self, Detail};
use crate::netlink::Netlink;
use crate::pods::{Entry, netns};

/// Timeout for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer accepted. A sandbox takes a few kilobytes in the list, and a node has a few
/// hundred.
const MAX_MESSAGE: usize = 32 << 20;
/// Most pods accepted per node.
const MAX_PODS: usize = 16_384;
/// Concurrent requests.
const AT_ONCE: usize = 8;
/// How often what is known about a pod's namespace is refreshed.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// A runtime that answers.
pub(super) struct Client {
    netlink: Netlink,
    service: RuntimeServiceClient<Channel>,
    /// What was found out about each sandbox besides the list, by its id.
    details: HashMap<String, (Detail, Instant)>,
    /// Interfaces that lead to no sandbox: once examined, they are not new any more.
    strange: HashSet<u32>,
    pub(super) events: Events,
}

impl Client {
    pub(super) async fn connect(netlink: Netlink, path: &Path) -> anyhow::Result<Self> {
        let path: PathBuf = path.into();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is a placeholder: the connector uses the socket.
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(PATIENCE)
            .connect_with_connector(connector)
            .await
            .map_err(|error| anyhow!(root(&error)))?;
        let mut service = RuntimeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let version = in_time(service.version(VersionRequest {
            version: "v1".into(),
        }))
        .await
        .context("ask for its version")?;
        tracing::info!(
            runtime = version.runtime_name,
            version = version.runtime_version,
            "container runtime"
        );
        let events = Events::follow(service.clone());
        Ok(Self {
            netlink,
            service,
            details: HashMap::new(),
            strange: HashSet::new(),
            events,
        })
    }

    /// The pods that are running.
    pub(super) async fn pods(&mut self) -> anyhow::Result<Vec<Entry>> {
        if self.events.have_ended() {
            self.events = Events::follow(self.service.clone());
        }
        let filter = PodSandboxFilter {
            state: Some(PodSandboxStateValue {
                state: PodSandboxState::SandboxReady.into(),
            }),
            ..PodSandboxFilter::default()
        };
        let mut sandboxes = in_time(self.service.list_pod_sandbox(ListPodSandboxRequest {
            filter: Some(filter),
        }))
        .await
        .context("list the runtime's pods")?
        .items;
        sandboxes.truncate(MAX_PODS);
        let containers = in_time(self.service.list_containers(ListContainersRequest {}))
            .await
            .context("list the runtime's containers")?
            .containers;
        let mut by_sandbox: HashMap<String, Vec<String>> = HashMap::new();
        for container in containers {
            let name = container.metadata.unwrap_or_default().name;
            let names = by_sandbox.entry(container.pod_sandbox_id).or_default();
            names.push(name);
        }
        let ids: HashSet<&str> = sandboxes.iter().map(|s| s.id.as_str()).collect();
        self.details.retain(|id, _| ids.contains(id.as_str()));
        let strange = self.strangers().await?;
        // Another interface may belong to a known pod.
        let any = strange.iter().any(|link| !self.strange.contains(link));
        let new: Vec<_> = sandboxes
            .iter()
            .map(|sandbox| sandbox.id.clone())
            .filter(|id| match self.details.get(id) {
                Some((detail, looked)) => {
                    any || !detail.complete() || looked.elapsed() > LOOK_AGAIN
                }
                None => true,
            })
            .collect();
        self.look_at(new).await?;
        self.strange = self.strangers().await?;
        let given = self
            .details
            .iter()
            .flat_map(|(id, (detail, _))| detail.addresses.iter().map(|ip| (*ip, id.as_str())))
            .collect();
        let entries = sandboxes.iter().filter_map(|sandbox| {
            let (detail, _) = self.details.get(&sandbox.id)?;
            let containers = by_sandbox.get(&sandbox.id).map_or(&[][..], Vec::as_slice);
            sandbox::entry(sandbox, detail, containers, &given)
        });
        Ok(entries.collect())
    }

    /// The interfaces that lead to none of the sandboxes.
    async fn strangers(&self) -> anyhow::Result<HashSet<u32>> {
        let mut links = self.netlink.elsewhere().await?;
        for (detail, _) in self.details.values() {
            for link in detail.links() {
                links.remove(link);
            }
        }
        Ok(links)
    }

    /// Determines the addresses and interfaces of sandboxes.
    async fn look_at(&mut self, ids: Vec<String>) -> anyhow::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let service = &self.service;
        let asked: Vec<_> = stream::iter(ids)
            .map(|id| async move {
                let request = PodSandboxStatusRequest {
                    pod_sandbox_id: id.clone(),
                    verbose: true,
                };
                // It may have ended between the list and this request.
                let answer = in_time(service.clone().pod_sandbox_status(request)).await;
                answer.ok().map(|answer| (id, Detail::read(&answer)))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let namespaces = asked.iter().map(|(_, detail)| detail.open()).collect();
        let (addresses, namespaces) = netns::look_into(namespaces).await?;
        let links = self.netlink.into_namespaces(&namespaces).await?;
        let found = asked.into_iter().zip(addresses).zip(links);
        for (((id, mut detail), addresses), links) in found {
            detail.found(addresses, links);
            self.details.insert(id, (detail, Instant::now()));
        }
        Ok(())
    }
}

/// Events that the runtime reports.
pub(super) struct Events {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    news: Notify,
    /// One has arrived, and more will.
    work: AtomicBool,
    /// One has arrived: this runtime supports them.
    ever: AtomicBool,
}

impl Events {
    fn follow(mut service: RuntimeServiceClient<Channel>) -> Self {
        let state = Arc::new(State::default());
        let told = state.clone();
        // The response header may come only with the first event, so it must not be waited for.
        let task = tokio::spawn(async move {
            match service.get_container_events(GetEventsRequest {}).await {
                Ok(stream) => {
                    let mut stream = stream.into_inner();
                    while let Ok(Some(_)) = stream.message().await {
                        told.work.store(true, Ordering::Relaxed);
                        told.ever.store(true, Ordering::Relaxed);
                        told.news.notify_one();
                    }
                }
                Err(status) => tracing::debug!("no events from the container runtime: {status}"),
            }
            // From here on, polling is needed. The end is itself a trigger: usually the runtime has
            // ended.
            if told.work.swap(false, Ordering::Relaxed) {
                told.news.notify_one();
            }
        });
        Self { state, task }
    }

    /// Whether there were events, and then no more. A runtime that never sent any is not asked
    /// again.
    fn have_ended(&self) -> bool {
        self.task.is_finished() && self.state.ever.load(Ordering::Relaxed)
    }

    /// Whether the runtime can be relied on to report events.
    pub(super) fn work(&self) -> bool {
        self.state.work.load(Ordering::Relaxed)
    }

    pub(super) async fn next(&mut self) {
        self.state.news.notified().await;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn in_time<T>(
    question: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(anyhow!("{}: {}", status.code(), status.message())),
        Err(_) => Err(anyhow!("no answer in {} s", PATIENCE.as_secs())),
    }
}

/// The root cause: the errors around it only say "transport error".
fn root(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
