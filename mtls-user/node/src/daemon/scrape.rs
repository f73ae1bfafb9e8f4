//! The metrics endpoint for Prometheus: `GET /metrics`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::connections::{Activity, Clients, wait_after};
use super::{Metrics, server};
use crate::metrics::{self, Format};

/// Shorter tokens could be guessed.
const MIN_TOKEN: usize = 16;

pub(super) struct Scraper {
    listener: TcpListener,
    tls: Option<Tls>,
    app: Router,
}

struct Shared {
    state: Arc<server::State>,
    token: Option<PathBuf>,
    /// One page is created at a time.
    making: Mutex<()>,
}

impl Scraper {
    pub(super) async fn listen(
        options: &Metrics,
        state: Arc<server::State>,
    ) -> anyhow::Result<Self> {
        if let Some(path) = &options.token {
            read_token(path)?;
        }
        let tls = options
            .tls
            .as_ref()
            .map(|(cert, key)| Tls::load(cert, key))
            .transpose()?;
        let listener = TcpListener::bind(options.address)
            .await
            .with_context(|| format!("--metrics {}", options.address))?;
        let shared = Shared {
            state,
            token: options.token.clone(),
            making: Mutex::default(),
        };
        let app = Router::new()
            .route("/metrics", get(page))
            .with_state(Arc::new(shared));
        Ok(Self { listener, tls, app })
    }

    pub(super) async fn serve(mut self) -> anyhow::Result<()> {
        let mut clients = Clients::default();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    wait_after("metrics", &error).await;
                    continue;
                }
            };
            match &mut self.tls {
                None => clients.add(async { Ok(stream) }, &self.app),
                Some(tls) => clients.add(tls.acceptor().accept(stream), &self.app),
            }
        }
    }
}

async fn page(
    shared: State<Arc<Shared>>,
    activity: Extension<Activity>,
    headers: HeaderMap,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(path) = &shared.token {
        // Read each time: the token may be replaced while the daemon runs.
        let shown = text(header::AUTHORIZATION).and_then(bearer);
        let is_right = read_token(path).is_ok_and(|token| shown.is_some_and(|s| same(s, &token)));
        if !is_right {
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (StatusCode::UNAUTHORIZED, ask, "show the right token\n").into_response();
        }
    }
    activity.answered();
    let format = Format::of(text(header::ACCEPT).unwrap_or_default());
    let _turn = shared.making.lock().await;
    let Some((snapshot, status)) = shared.state.metrics().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response();
    };
    let outlets = shared.state.outlets();
    let made =
        tokio::task::spawn_blocking(move || metrics::encode(snapshot, status, outlets, format));
    match made.await {
        Ok(Ok(page)) => ([(header::CONTENT_TYPE, format.content_type())], page).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let what = || format!("--metrics-token-file {}", path.display());
    let token = std::fs::read_to_string(path).with_context(what)?;
    let token = token.trim();
    ensure!(
        token.len() >= MIN_TOKEN,
        "{}: a token has at least {MIN_TOKEN} characters",
        what()
    );
    Ok(token.into())
}

/// RFC 6750 §2.1; the scheme's name is case-insensitive.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// Compares in a time that depends only on the length.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | a ^ b);
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

/// A certificate that is reloaded when its files change.
struct Tls {
    files: (PathBuf, PathBuf),
    changed: [Option<SystemTime>; 2],
    acceptor: TlsAcceptor,
}

impl Tls {
    fn load(cert: &Path, key: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            files: (cert.into(), key.into()),
            changed: changed(cert, key),
            acceptor: read(cert, key)?,
        })
    }

    fn acceptor(&mut self) -> TlsAcceptor {
        let (cert, key) = &self.files;
        let changed = changed(cert, key);
        if changed != self.changed {
            match read(cert, key) {
                Ok(acceptor) => {
                    self.acceptor = acceptor;
                    self.changed = changed;
                }
                // They may be half written: keep using the old ones.
                Err(error) => tracing::warn!("metrics: {error:#}"),
            }
        }
        self.acceptor.clone()
    }
}

fn changed(cert: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [cert, key].map(|path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    })
}

fn read(cert: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .with_context(|| format!("--metrics-cert {}", cert.display()))?;
    let what = || format!("--metrics-key {}", key.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(what)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(what)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_whole() {
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert!(same("0123456789abcdef", "0123456789abcdef"));
        for other in ["", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!same("0123456789abcdef", other), "{other}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, good) in [
            ("", false),
            ("short\n", false),
            ("0123456789abcdef\n", true),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_token(&path).is_ok(), good, "{text:?}");
        }
    }
}
