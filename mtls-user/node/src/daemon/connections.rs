//! The clients of the socket and of the metrics: bounded in number, and in what each of them can hold.

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

/// Clients at a time. Beyond it, whoever has asked for nothing longest is hung up on.
const MAX: usize = 64;
/// How long a request may take to come in.
const REQUEST: Duration = Duration::from_secs(5);
/// How long an answer may take to be read; a tap is read for as long as its reader likes.
const ANSWER: Duration = Duration::from_secs(15);

/// What a client is doing.
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

    /// Its answer has no end.
    pub(super) fn streaming(&self) {
        self.0.store(STREAMING, Ordering::Relaxed);
    }

    fn is(&self, what: u8) -> bool {
        self.0.load(Ordering::Relaxed) == what
    }
}

/// Accepts and serves, for ever.
pub(super) async fn serve(listener: UnixListener, app: Router) {
    let mut clients = Clients::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => clients.add(async { Ok(stream) }, &app),
            Err(error) => wait_after("the socket", &error).await,
        }
    }
}

/// No descriptors, mostly: they come back.
pub(super) async fn wait_after(what: &str, error: &std::io::Error) {
    tracing::warn!("{what}: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Those who are served.
#[derive(Default)]
pub(super) struct Clients(VecDeque<(AbortHandle, Activity)>);

impl Clients {
    /// Serves one more, once `stream` is there.
    pub(super) fn add<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &mut self,
        stream: impl Future<Output = std::io::Result<S>> + Send + 'static,
        app: &Router,
    ) {
        let clients = &mut self.0;
        clients.retain(|(task, _)| !task.is_finished());
        if clients.len() >= MAX {
            let idle = clients.iter().position(|(_, activity)| activity.is(ASKING));
            // All of them read answers: this one comes too many.
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
