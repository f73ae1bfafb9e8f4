//! Tests with a scripted runtime, for what a real one does not do here: events, and misbehaviour.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::Stream;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use super::runtime_v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use super::runtime_v1::*;
use super::*;

type Answer<T> = Result<Response<T>, Status>;

/// A runtime with scripted answers.
#[derive(Clone)]
struct Scripted {
    sandboxes: Arc<Mutex<Vec<PodSandbox>>>,
    /// Without one, it has no events.
    events: Option<broadcast::Sender<()>>,
}

/// Its own tokio runtime, because only ending that ends its connections too.
struct Listening(Option<tokio::runtime::Runtime>);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Scripted {
    fn new(with_events: bool) -> Self {
        Self {
            sandboxes: Arc::default(),
            events: with_events.then(|| broadcast::Sender::new(8)),
        }
    }

    /// Listens on `path` for as long as the guard exists.
    fn listen(&self, path: &Path) -> Listening {
        let _ = std::fs::remove_file(path);
        let server = tonic::transport::Server::builder()
            .add_service(RuntimeServiceServer::new(self.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let context = runtime.enter();
        let listener = UnixListenerStream::new(UnixListener::bind(path).unwrap());
        drop(context);
        runtime.spawn(async move { server.serve_with_incoming(listener).await.unwrap() });
        Listening(Some(runtime))
    }

    fn add(&self, sandbox: PodSandbox) {
        let mut sandboxes = self
            .sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sandboxes.push(sandbox);
        drop(sandboxes);
        if let Some(events) = &self.events {
            let _ = events.send(());
        }
    }

    fn find(&self, id: &str) -> Option<PodSandbox> {
        let sandboxes = self.sandboxes.lock().unwrap();
        sandboxes.iter().find(|sandbox| sandbox.id == id).cloned()
    }
}

#[tonic::async_trait]
impl RuntimeService for Scripted {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        Ok(Response::new(VersionResponse::default()))
    }

    async fn list_pod_sandbox(
        &self,
        _: Request<ListPodSandboxRequest>,
    ) -> Answer<ListPodSandboxResponse> {
        let items = self.sandboxes.lock().unwrap().clone();
        Ok(Response::new(ListPodSandboxResponse { items }))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Answer<PodSandboxStatusResponse> {
        let sandbox = self
            .find(&request.into_inner().pod_sandbox_id)
            .ok_or_else(|| Status::not_found("no such sandbox"))?;
        Ok(Response::new(PodSandboxStatusResponse {
            status: Some(PodSandboxStatus {
                id: sandbox.id,
                network: sandbox
                    .annotations
                    .get("ip")
                    .map(|ip| PodSandboxNetworkStatus {
                        ip: ip.clone(),
                        ..PodSandboxNetworkStatus::default()
                    }),
                ..PodSandboxStatus::default()
            }),
            ..PodSandboxStatusResponse::default()
        }))
    }

    async fn list_containers(
        &self,
        _: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        Ok(Response::new(ListContainersResponse::default()))
    }

    type GetContainerEventsStream =
        Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>>;

    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        let events = self
            .events
            .as_ref()
            .ok_or_else(|| Status::unimplemented("no events"))?;
        let stream = BroadcastStream::new(events.subscribe());
        let stream = stream.map(|_| Ok(ContainerEventResponse::default()));
        Ok(Response::new(Box::pin(stream)))
    }
}

fn sandbox(name: &str, ip: &str) -> PodSandbox {
    PodSandbox {
        id: name.into(),
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            namespace: "shop".into(),
            ..PodSandboxMetadata::default()
        }),
        annotations: [("ip".to_string(), ip.to_string())].into(),
        ..PodSandbox::default()
    }
}

/// A directory that follows `runtime`; the sender signals a missing name.
struct Scene {
    dir: tempfile::TempDir,
    directory: Arc<Directory>,
    missed: watch::Sender<u64>,
    _following: JoinHandle<()>,
}

fn netlink() -> Netlink {
    Netlink::open(&[]).unwrap().0
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::new());
        let (missed, missing) = watch::channel(0);
        let cri = Cri::new(
            netlink(),
            directory.clone(),
            Some(dir.path().join("cri.sock")),
        );
        Self {
            _following: tokio::spawn(cri.run(missing)),
            dir,
            directory,
            missed,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cri.sock")
    }

    fn name(&self, ip: &str) -> mtls_core::record::Workload {
        self.directory.name(ip.parse().unwrap(), 0, now())
    }

    /// Waits until the condition holds; returns how long that took.
    async fn until(&self, what: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !what(self) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{:?}",
                self.directory.health()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }
}

#[tokio::test]
async fn an_event_brings_the_name_at_once() {
    let scene = Scene::new();
    let runtime = Scripted::new(true);
    let _listening = runtime.listen(&scene.path());
    scene
        .until(|scene| {
            scene.directory.health()[..]
                .iter()
                .any(|h| h.error.is_none())
        })
        .await;
    // The retries of the first query are over after this.
    let events = runtime.events.clone().unwrap();
    while events.receiver_count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    runtime.add(sandbox("web", "10.0.0.1"));
    let took = scene
        .until(|scene| scene.name("10.0.0.1").name == "web")
        .await;
    assert!(took < WITHOUT_EVENTS / 2, "{took:?}");
    assert_eq!(scene.name("10.0.0.1").namespace, "shop");
}

#[tokio::test]
async fn without_events_a_missed_name_is_asked_for() {
    let scene = Scene::new();
    let runtime = Scripted::new(false);
    let _listening = runtime.listen(&scene.path());
    scene
        .until(|scene| {
            scene.directory.health()[..]
                .iter()
                .any(|h| h.error.is_none())
        })
        .await;
    runtime.add(sandbox("web", "10.0.0.1"));
    scene.missed.send_modify(|count| *count += 1);
    let took = scene
        .until(|scene| scene.name("10.0.0.1").name == "web")
        .await;
    assert!(took < WITHOUT_EVENTS / 2, "{took:?}");
}

#[tokio::test]
async fn names_outlive_the_runtime_and_are_said_to_be_stale() {
    let scene = Scene::new();
    let runtime = Scripted::new(true);
    let listening = runtime.listen(&scene.path());
    while runtime.events.as_ref().unwrap().receiver_count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    runtime.add(sandbox("web", "10.0.0.1"));
    scene
        .until(|scene| scene.name("10.0.0.1").name == "web")
        .await;
    assert_eq!(scene.name("10.0.0.1").stale, None);

    drop(listening);
    std::fs::remove_file(scene.path()).unwrap();
    scene
        .until(|scene| scene.name("10.0.0.1").stale.is_some())
        .await;
    assert_eq!(scene.name("10.0.0.1").name, "web");
    assert_eq!(scene.name("10.0.0.1").namespace, "shop");
    let health = scene.directory.health();
    let error = health[0].error.as_deref().unwrap();
    assert!(
        error.contains("cri.sock") && error.contains("--cri-endpoint"),
        "{error}"
    );

    let _listening = runtime.listen(&scene.path());
    scene
        .until(|scene| scene.name("10.0.0.1").stale.is_none())
        .await;
    assert!(scene.directory.health()[0].error.is_none());
}

#[tokio::test]
async fn a_runtime_that_talks_nonsense_costs_nothing_but_its_names() {
    let scene = Scene::new();
    let runtime = Scripted::new(false);
    runtime.add(PodSandbox::default());
    runtime.add(sandbox("odd", "not an address"));
    runtime.add(sandbox("bell\u{7}", "10.0.0.7"));
    let _listening = runtime.listen(&scene.path());
    scene
        .until(|scene| scene.name("10.0.0.7").kind == "pod")
        .await;
    assert_eq!(scene.name("10.0.0.7").name, "bell\u{fffd}");

    // More than any node has: rejected, and the names stay as they were.
    let mut huge = sandbox("huge", "10.0.0.8");
    huge.labels.insert("a".into(), "x".repeat(40 << 20));
    runtime.add(huge);
    scene.missed.send_modify(|count| *count += 1);
    scene
        .until(|scene| scene.directory.health()[0].error.is_some())
        .await;
    assert_eq!(scene.name("10.0.0.7").kind, "pod");
    assert_eq!(scene.name("10.0.0.8").kind, "unknown");
}

#[tokio::test]
async fn no_runtime_is_no_error_where_none_was_asked_for() {
    let directory = Arc::new(Directory::new());
    let mut cri = Cri::new(netlink(), directory.clone(), None);
    cri.endpoints = vec!["/nonexistent/cri.sock".into()];
    assert!(cri.look().await);
    assert!(directory.health().is_empty());
}
