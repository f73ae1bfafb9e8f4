//! `mtls daemon`: the parts put together, from start to a clean stop.
//!
//! Three tasks share nothing but channels: the `engine` reads samples and owns flows and edges,
//! the `attacher` follows interfaces and owns the kernel programs, the `server` answers.

mod attacher;
mod engine;
mod latency;
mod names;
mod server;
mod socket;
mod status;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{mpsc, watch};

use crate::kernel::{Choice, Config, Kernel};
use crate::pods::{self, Declarations, Directory};
use mtls_core::flow::Limits;

/// Where the socket is unless told otherwise.
pub const SOCKET: &str = "/run/mtls/mtls.sock";

/// What the daemon is told on its command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The socket that it answers on.
    pub socket: PathBuf,
    /// Where network namespaces have names.
    pub netns_dir: PathBuf,
    /// A file of pod names.
    pub pods: Option<PathBuf>,
    /// A file of exemptions.
    pub exemptions: Option<PathBuf>,
    /// Ask the container runtime for names.
    pub cri: bool,
    /// The container runtime's socket; without one, those that runtimes use are tried.
    pub cri_endpoint: Option<PathBuf>,
    /// Names from the Kubernetes API.
    pub kubernetes: crate::pods::kubernetes::Options,
    /// How long a closed connection stays listed.
    pub window: Duration,
    /// Which interfaces are watched.
    pub interfaces: Choice,
    /// What the kernel's side is told.
    pub kernel: Config,
    /// Bounds of the flow table.
    pub limits: Limits,
}

/// Waits until the daemon is to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so.
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
    // Signals first: one that comes during the start is honoured too.
    let mut stop = signals()?;
    let started = Instant::now();
    let socket = socket::Bound::new(&options.socket)?;
    let directory = Arc::new(Directory::new());
    if let Some(path) = &options.exemptions {
        directory.declare(Declarations::read(path)?);
    }
    let node = pods::node_name(options.kubernetes.node.as_deref());
    let names = names::Names::start(directory.clone(), &options).await?;
    let mut kernel = Kernel::load(&options.kernel)?;
    let events = kernel.events()?;
    if options.kernel.log {
        kernel.log()?;
    }

    let (stopping, stopped) = watch::channel(false);
    let (engine_tx, engine_rx) = mpsc::channel(64);
    let (attacher_tx, attacher_rx) = mpsc::channel(64);
    let engine = engine::Engine::new(&options, node.clone(), directory.clone(), names.refresher());
    let tap = engine.tap();
    let engine = tokio::spawn(engine.run(events, engine_rx, stopped.clone()));
    let mut attacher =
        attacher::Attacher::new(kernel, options.interfaces.clone(), names.refresher()).await?;
    let interfaces = attacher.attach_all().await?;
    let attacher =
        tokio::spawn(attacher.run(options.kernel.look_again, attacher_rx, stopped.clone()));
    let state = server::State {
        engine: engine_tx,
        attacher: attacher_tx,
        tap,
        node,
        directory,
        socket: options.socket.clone(),
        window: options.window,
        started,
        stopped: stopped.clone(),
    };
    let server = tokio::spawn(server::serve(socket.listener()?, state));
    eprintln!(
        "ready: socket {}, {interfaces} interfaces",
        options.socket.display()
    );
    notify("READY=1");

    let mut engine = engine;
    let mut attacher = attacher;
    let (mut engine_done, mut attacher_done) = (false, false);
    let outcome = tokio::select! {
        () = stop.received() => Ok(()),
        ended = &mut engine => {
            engine_done = true;
            Err(anyhow::anyhow!("reading samples ended: {}", why(ended)))
        }
        ended = &mut attacher => {
            attacher_done = true;
            Err(anyhow::anyhow!("following interfaces ended: {}", why(ended)))
        }
    };
    notify("STOPPING=1");
    // Interfaces let go first, so that what is in the ring after that is all there is.
    let _ = stopping.send(true);
    if !attacher_done {
        let _ = attacher.await;
    }
    if !engine_done {
        let _ = engine.await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    drop(socket);
    eprintln!("stopped");
    outcome
}

fn why(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "without a reason".into(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(error) => error.to_string(),
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

/// Tells a service manager that asked for it (`sd_notify(3)`); nobody asks in a pod.
fn notify(state: &str) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Ok(socket) = std::os::unix::net::UnixDatagram::unbound()
    {
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
