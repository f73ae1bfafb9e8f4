//! Asks the daemon over its socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::NoDaemon;

/// A daemon that does not answer within this time is not going to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a client's future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(future)
}

/// `GET path`, its answer as JSON.
pub(super) async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    let answer = async {
        let response = open(socket, path).await?;
        let body = response.into_body().collect().await;
        let body = body.context("read the daemon's answer")?.to_bytes();
        serde_json::from_slice(&body).context(
            "the daemon's answer is not understood: is it of the same version as this program?",
        )
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .with_context(|| format!("no answer on {} in 10 s", socket.display()))?
}

/// `GET path`, its answer as it comes.
pub(super) async fn open(socket: &Path, path: &str) -> anyhow::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| no_daemon(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("speak to the daemon")?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(hyper::header::HOST, "mtls")
        .body(Empty::<Bytes>::new())
        .context("make the request")?;
    let response = sender
        .send_request(request)
        .await
        .context("speak to the daemon")?;
    if response.status() != StatusCode::OK {
        bail!("the daemon answers {} to {path}", response.status());
    }
    Ok(response)
}

fn no_daemon(socket: &Path, error: &io::Error) -> anyhow::Error {
    let socket = socket.display();
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "no daemon: {socket} does not exist; start one with `mtls daemon` as root, or name its socket with --socket"
        ),
        io::ErrorKind::ConnectionRefused => format!(
            "no daemon answers on {socket}: the one that made it was killed; start it again with `mtls daemon` as root"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{socket} is for its owner alone: run this as the daemon's user (root)")
        }
        _ => format!("no daemon can be asked on {socket}: {error}"),
    };
    NoDaemon(text).into()
}
