//! `mtls daemon`: its parts, from start-up to a clean shutdown.
//!
//! The parts communicate only through channels: the `engine`, on a thread of its own, reads samples
//! and owns flows and edges; the `attacher`, on another, owns the kernel programs; the `follower`
//! follows interfaces; `names` keeps the directory up to date; the `server` answers queries. Each
//! is supervised: if one ends, the daemon ends, and says which one and why.

mod attacher;
mod connections;
mod coverage;
mod engine;
mod exemptions;
mod exporter;
mod flows;
mod follower;
mod history;
mod latency;
mod ledger;
mod lost;
mod names;
mod parts;
mod remote;
mod scrape;
mod server;
pub mod simulated;
mod socket;
mod status;
mod uptime;
mod waiting;
mod witness;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot, watch};

use crate::kernel::{Choice, Config, Kernel, Links};
use crate::pods::{self, Directory};
use mtls_core::flow::Limits;

pub use exporter::Export;
pub use witness::Witness;

/// The default path of the socket.
pub const SOCKET: &str = "/run/mtls/mtls.sock";

/// The daemon's command-line options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of its socket.
    pub socket: PathBuf,
    /// A directory of named network namespaces; an error if it is given and does not exist. `None`:
    /// `/var/run/netns`, which may be missing.
    pub netns_dir: Option<PathBuf>,
    /// A file of pod names.
    pub pods: Option<PathBuf>,
    /// A file of exemptions.
    pub exemptions: Option<PathBuf>,
    /// Whether plaintext DNS counts as any other plaintext.
    pub judge_dns: bool,
    /// Whether to get names from the container runtime.
    pub cri: bool,
    /// The container runtime's socket; without one, the usual paths are tried.
    pub cri_endpoint: Option<PathBuf>,
    /// Names from the Kubernetes API.
    pub kubernetes: crate::pods::kubernetes::Options,
    /// How long a closed connection stays listed.
    pub window: Duration,
    /// Most connections remembered individually.
    pub history: usize,
    /// Which interfaces are watched.
    pub interfaces: Choice,
    /// Configuration of the kernel program.
    pub kernel: Config,
    /// Limits of the flow table.
    pub limits: Limits,
    /// Address for callers from outside the node, who are authorised by the Kubernetes API; `None`
    /// disables it. An address of the loopback interface.
    pub api: Option<std::net::SocketAddr>,
    /// Address of the metrics endpoint; `None` disables it.
    pub metrics: Option<Metrics>,
    /// Most edges that have series of their own.
    pub metrics_edges: usize,
    /// What is exported.
    pub export: Export,
    /// What is written to the Kubernetes API.
    pub witness: Witness,
}

/// Configuration of metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The address.
    pub address: std::net::SocketAddr,
    /// PEM files with a certificate chain and its key. `None`: plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A file with the token that clients must send.
    pub token: Option<PathBuf>,
}

/// Waits until the daemon is told to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that no sender is left.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<()> {
    // Signals first: one that arrives during start-up is honoured too.
    let mut stop = signals()?;
    let started = Instant::now();
    check(&options)?;
    raise_descriptors();
    let socket = socket::Bound::new(&options.socket)?;
    let links = Links::open(options.interfaces.clone())
        .await
        .context("listen for interfaces")?;
    let directory = Arc::new(Directory::new());
    if options.judge_dns {
        directory.judge_dns();
    }
    let exemptions = match &options.exemptions {
        Some(path) => {
            let (exemptions, declared) = exemptions::Exemptions::read(path.clone())?;
            directory.declare(declared);
            Some(exemptions)
        }
        None => None,
    };
    let node = pods::node_name(options.kubernetes.node.as_deref());
    let mut parts = parts::Parts::default();
    if let Some(exemptions) = exemptions {
        parts.task("reading exemptions", exemptions.follow(directory.clone()));
    }
    let names =
        names::Names::start(&mut parts, links.netlink(), directory.clone(), &options).await?;
    let mut kernel = Kernel::load(&options.kernel)?;
    if options.kernel.log {
        kernel.log()?;
    }

    let (stopping, stopped) = watch::channel(false);
    let (engine_tx, engine_rx) = mpsc::channel(64);
    let (engine_stop, engine_stopped) = mpsc::channel(2);
    let engine = engine::Engine::new(
        &options,
        kernel.losses()?,
        node.clone(),
        directory.clone(),
        names.refresher(),
    );
    let tap = engine.tap();
    let recording = engine.recording();
    // It has a reactor of its own, so that it waits for nothing else.
    let reactor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the engine's runtime")?;
    let events = {
        let _reactor = reactor.enter();
        kernel.events()?
    };
    parts.thread("engine", "reading samples", move || {
        reactor.block_on(engine.run(events, engine_rx, engine_stopped))
    })?;

    let (attacher_tx, attacher_rx) = std::sync::mpsc::channel();
    let attacher = attacher::Attacher::new(
        kernel,
        options.interfaces.watched.clone(),
        names.refresher(),
    );
    let look_again = options.kernel.look_again;
    parts.thread("attacher", "attaching to interfaces", move || {
        attacher.run(look_again, &attacher_rx)
    })?;
    let mut follower = follower::Follower::new(links, attacher_tx.clone(), directory.clone());
    let interfaces = follower.list().await?;
    parts.task("following interfaces", follower.run());

    let state = Arc::new(server::State {
        engine: engine_tx,
        attacher: attacher_tx.clone(),
        tap,
        recording,
        node,
        directory,
        socket: options.socket.clone(),
        window: options.window,
        started,
        stopped: stopped.clone(),
        room: server::Room::default(),
        queues: exporter::Queues::new(&options.export),
        tallies: witness::Tallies::new(&options.witness),
    });
    exporter::start(&mut parts, &options.export, &state)?;
    witness::start(&mut parts, &options, &state).await?;
    if let Some(metrics) = &options.metrics {
        let scraper = scrape::Scraper::listen(metrics, state.clone()).await?;
        parts.task("serving metrics", scraper.serve());
    }
    if let Some(address) = options.api {
        let access = crate::api::Access::new(options.kubernetes.kubeconfig.as_deref()).await;
        let access = access.context("--api: who asks is for the Kubernetes API to say")?;
        let remote = remote::serve(address, access, state.clone());
        parts.task("answering callers from outside the node", remote);
    }
    let listener = socket.listener()?;
    parts.task("answering on the socket", async move {
        server::serve(listener, state).await;
        Ok(())
    });
    eprintln!(
        "ready: socket {}, {interfaces} interfaces",
        options.socket.display()
    );
    notify("READY=1");

    let outcome = tokio::select! {
        () = stop.received() => Ok(()),
        error = parts.ended() => Err(error),
    };
    notify("STOPPING=1");
    // Interfaces are detached first, so that nothing is added to the ring buffer afterwards. Only
    // then are the last events sent, and the requests end. If a part is gone, its closed channel is
    // the answer.
    let (done, detached) = oneshot::channel();
    let _ = attacher_tx.send(attacher::Command::Stop(done));
    let _ = detached.await;
    let (done, drained) = oneshot::channel();
    let _ = engine_stop.send(engine::Stop::Drain(done)).await;
    let _ = drained.await;
    let _ = stopping.send(true);
    tokio::time::sleep(Duration::ZERO).await;
    let _ = engine_stop.send(engine::Stop::End).await;
    parts.stop();
    drop(socket);
    eprintln!("stopped");
    outcome
}

/// What is explicitly configured has to exist.
fn check(options: &Options) -> anyhow::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    if let Some(path) = &options.cri_endpoint {
        let what = format!("--cri-endpoint {}", path.display());
        let meta = std::fs::metadata(path).with_context(|| what.clone())?;
        anyhow::ensure!(meta.file_type().is_socket(), "{what}: is no socket");
    }
    if let Some(path) = &options.netns_dir {
        let what = format!("--netns-dir {}", path.display());
        std::fs::read_dir(path).with_context(|| what)?;
    }
    if let Some(path) = &options.kubernetes.kubeconfig {
        crate::pods::kubernetes::check(path)?;
    }
    Ok(())
}

/// Each interface takes two descriptors, each client one: the limit is raised as far as possible.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!("the limit of file descriptors stays as it is: {error}");
    }
}

struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    async fn received(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

fn signals() -> anyhow::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Signals {
        term: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        int: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
    })
}

/// Notifies a service manager that requested it (`sd_notify(3)`); in a pod there is none.
fn notify(state: &str) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Ok(socket) = std::os::unix::net::UnixDatagram::unbound()
    {
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
