//! Asks the daemon over its socket.

use std::io;
use std::os::unix::fs::FileTypeExt;
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
            "cannot read the daemon's answer: is the daemon the same version as this program? (mtls version)",
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
        .context("send the request to the daemon")?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(hyper::header::HOST, "mtls")
        .body(Empty::<Bytes>::new())
        .context("make the request")?;
    let response = sender
        .send_request(request)
        .await
        .context("send the request to the daemon")?;
    if response.status() != StatusCode::OK {
        bail!("the daemon answered {} to {path}", response.status());
    }
    Ok(response)
}

fn no_daemon(socket: &Path, error: &io::Error) -> anyhow::Error {
    let is_socket = |about: std::fs::Metadata| about.file_type().is_socket();
    let is_other = std::fs::metadata(socket).is_ok_and(|about| !is_socket(about));
    let socket = socket.display();
    let text = match error.kind() {
        _ if is_other => format!(
            "{socket} is not a socket: name the daemon's socket with --socket or MTLS_SOCKET"
        ),
        io::ErrorKind::NotFound => format!(
            "no daemon: {socket} does not exist; start one with `mtls daemon` as root, or name its socket with --socket"
        ),
        io::ErrorKind::ConnectionRefused => format!(
            "no daemon answers on {socket}: the daemon that created this socket is not running any more; start one with `mtls daemon` as root"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("no permission to use {socket}: run this as the daemon's user (root)")
        }
        _ => format!("cannot connect to the daemon on {socket}: {error}"),
    };
    NoDaemon(text).into()
}
