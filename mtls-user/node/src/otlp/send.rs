//! Sends records and metrics to a Collector, and writes records to a file.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::notice::request;
use super::{Queue, Resource};

/// Timeout of one attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records sent at a time.
const BATCH: usize = 512;
/// First and longest delay before a retry; the delay doubles each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Bytes of a response that are read.
const MAX_ANSWER: usize = 64 << 10;

/// The protocol for a Collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, as Protobuf.
    Http,
}

/// Sends to one Collector.
#[derive(Clone)]
pub struct Sender(Arc<Way>);

enum Way {
    Grpc {
        channel: Channel,
        headers: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    },
    Http {
        client: Box<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
        base: String,
        headers: HeaderMap,
    },
}

impl Sender {
    /// Sends to the Collector at `url`, with these headers (lines of `NAME: VALUE`). It does not
    /// have to be reachable yet. Must be called within a tokio runtime.
    pub fn new(url: &str, protocol: Protocol, headers: &[String]) -> anyhow::Result<Self> {
        let what = || format!("--otlp {url}");
        let uri: Uri = url.parse().with_context(what)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            bail!("{}: expected a URL like http://collector:4317", what());
        }
        let pair = |line: &String| -> anyhow::Result<(HeaderName, HeaderValue)> {
            // The value may be a secret.
            let wrong = || "--otlp-header: expected NAME: VALUE";
            let (name, value) = line.split_once(':').with_context(wrong)?;
            let name: HeaderName = name.trim().parse().with_context(wrong)?;
            Ok((name, value.trim().parse().with_context(wrong)?))
        };
        let headers: Vec<_> = headers.iter().map(pair).collect::<anyhow::Result<_>>()?;
        Ok(Self(Arc::new(match protocol {
            Protocol::Grpc => {
                let mut endpoint = Endpoint::from(uri.clone()).connect_timeout(PATIENCE);
                if uri.scheme_str() == Some("https") {
                    let tls = ClientTlsConfig::new().with_native_roots();
                    endpoint = endpoint.tls_config(tls).with_context(what)?;
                }
                let headers = headers.iter().map(|(name, value)| {
                    let name = MetadataKey::from_bytes(name.as_str().as_bytes())?;
                    Ok((name, MetadataValue::try_from(value.as_bytes())?))
                });
                Way::Grpc {
                    channel: endpoint.connect_lazy(),
                    headers: headers.collect::<anyhow::Result<_>>()?,
                }
            }
            Protocol::Http => {
                let provider = rustls::crypto::ring::default_provider();
                let connector = HttpsConnectorBuilder::new()
                    .with_provider_and_native_roots(provider)
                    .context("read the system's certificates")?
                    .https_or_http()
                    .enable_http1()
                    .build();
                Way::Http {
                    client: Box::new(Client::builder(TokioExecutor::new()).build(connector)),
                    base: url.trim_end_matches('/').into(),
                    headers: headers.into_iter().collect(),
                }
            }
        })))
    }

    /// Sends records; an error if they may not have arrived.
    pub(super) async fn logs(&self, logs: ExportLogsServiceRequest) -> anyhow::Result<()> {
        let sending = async {
            match &*self.0 {
                Way::Grpc { channel, .. } => {
                    let mut client = LogsServiceClient::new(channel.clone());
                    client.export(self.grpc(logs)).await?;
                    Ok(())
                }
                Way::Http { .. } => self.http("/v1/logs", logs.encode_to_vec()).await,
            }
        };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .context("no answer in 10 s")?
    }

    /// Sends metrics. If they do not arrive, the next ones include them.
    pub async fn metrics(&self, metrics: ExportMetricsServiceRequest) -> anyhow::Result<()> {
        let sending = async {
            match &*self.0 {
                Way::Grpc { channel, .. } => {
                    let mut client = MetricsServiceClient::new(channel.clone());
                    client.export(self.grpc(metrics)).await?;
                    Ok(())
                }
                Way::Http { .. } => self.http("/v1/metrics", metrics.encode_to_vec()).await,
            }
        };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .context("no answer in 10 s")?
    }

    fn grpc<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Way::Grpc { headers, .. } = &*self.0 {
            for (name, value) in headers {
                request.metadata_mut().insert(name.clone(), value.clone());
            }
        }
        request
    }

    async fn http(&self, path: &str, body: Vec<u8>) -> anyhow::Result<()> {
        let Way::Http {
            client,
            base,
            headers,
        } = &*self.0
        else {
            bail!("no HTTP");
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{base}{path}"));
        if let Some(all) = request.headers_mut() {
            all.clone_from(headers);
            let protobuf = HeaderValue::from_static("application/x-protobuf");
            all.insert(CONTENT_TYPE, protobuf);
        }
        let response = client.request(request.body(Full::from(body))?).await?;
        let status = response.status();
        // Read completely, so that the connection is reused.
        let _ = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        anyhow::ensure!(status.is_success(), "the Collector answers {status}");
        Ok(())
    }
}

/// Sends queued records, indefinitely. Failed transmissions are retried with increasing pauses; the
/// records stay in the queue meanwhile.
pub async fn export(queue: Arc<Queue>, sender: Sender, resource: Resource) -> anyhow::Result<()> {
    let mut pause = RETRY.0;
    loop {
        let (some, passed) = queue.some(BATCH).await;
        let logs = request(some.iter().map(|notice| &**notice), &resource);
        match sender.logs(logs).await {
            Ok(()) => {
                queue.arrived(some.len(), passed);
                pause = RETRY.0;
            }
            Err(error) => {
                if pause == RETRY.0 {
                    tracing::warn!("OTLP: {error:#}: tried again until it works");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}

/// Writes queued records to a file, or to standard output if its name is `-`, one per line,
/// indefinitely. It needs a thread of its own: the reader of a pipe may be slow.
pub fn write_lines(
    queue: &Queue,
    path: &Path,
    resource: &Resource,
    runtime: &tokio::runtime::Handle,
) -> anyhow::Result<()> {
    let what = || format!("--events {}", path.display());
    let mut out: Box<dyn Write> = if path == Path::new("-") {
        Box::new(std::io::stdout())
    } else {
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).append(true).open(path);
        Box::new(file.with_context(what)?)
    };
    loop {
        let (some, passed) = runtime.block_on(queue.some(BATCH));
        let mut text = String::new();
        for notice in &some {
            text += &notice.line(resource);
        }
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => queue.arrived(some.len(), passed),
            // A full disk may have room later; these lines may have been written in part.
            Err(error) => {
                tracing::warn!("{}: {error}", what());
                queue.missed(some.len() as u64);
                queue.skip(some.len(), passed);
                std::thread::sleep(RETRY.0);
            }
        }
    }
}
