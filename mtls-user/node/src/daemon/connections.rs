//! The clients of the socket and of the metrics endpoint: bounded in number and in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::task::AbortHandle;

/// Clients at a time. Beyond this, the one that has been idle longest is disconnected.
const MAX: usize = 64;
/// Timeout for receiving a request.
const REQUEST: Duration = Duration::from_secs(5);
/// Timeout for sending an answer; a tap lasts as long as its reader wants.
const ANSWER: Duration = Duration::from_secs(15);

/// The state of a client.
#[derive(Clone, Default)]
pub(super) struct Activity(Arc<AtomicU8>);

const ASKING: u8 = 0;
const ANSWERED: u8 = 1;
const STREAMING: u8 = 2;

impl Activity {
    /// A request is complete.
    pub(super) fn answered(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }

    /// Its answer is unbounded.
    pub(super) fn streaming(&self) {
        self.0.store(STREAMING, Ordering::Relaxed);
    }

    fn is(&self, what: u8) -> bool {
        self.0.load(Ordering::Relaxed) == what
    }
}

/// Accepts and serves connections, indefinitely.
pub(super) async fn serve(listener: UnixListener, app: Router) {
    let mut clients = Clients::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => clients.add(async { Ok(stream) }, &app),
            Err(error) => wait_after("the socket", &error).await,
        }
    }
}

/// Usually a lack of file descriptors, which will be available again.
pub(super) async fn wait_after(what: &str, error: &std::io::Error) {
    tracing::warn!("{what}: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The connected clients.
#[derive(Default)]
pub(super) struct Clients(VecDeque<(AbortHandle, Activity)>);

impl Clients {
    /// Serves one more client, once `stream` is available.
    pub(super) fn add<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &mut self,
        stream: impl Future<Output = std::io::Result<S>> + Send + 'static,
        app: &Router,
    ) {
        let clients = &mut self.0;
        clients.retain(|(task, _)| !task.is_finished());
        if clients.len() >= MAX {
            let idle = clients.iter().position(|(_, activity)| activity.is(ASKING));
            // All others are reading answers: the new one is rejected.
            let Some((task, _)) = idle.and_then(|at| clients.remove(at)) else {
                return;
            };
            task.abort();
        }
        let activity = Activity::default();
        let task = tokio::spawn(client(stream, app.clone(), activity.clone()));
        clients.push_back((task.abort_handle(), activity));
    }
}

/// One request and its answer.
async fn client<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: impl Future<Output = std::io::Result<S>>,
    app: Router,
    activity: Activity,
) {
    let stream = match tokio::time::timeout(REQUEST, stream).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("a client: {error}"),
        Err(_) => return tracing::debug!("a client does not open its connection"),
    };
    let app = app.layer(axum::Extension(activity.clone()));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let too_long = async {
        loop {
            tokio::time::sleep(ANSWER).await;
            if !activity.is(STREAMING) {
                break;
            }
        }
    };
    tokio::select! {
        outcome = served => if let Err(error) = outcome {
            tracing::debug!("a client: {error}");
        },
        () = too_long => tracing::debug!("a client does not read its answer"),
    }
}
