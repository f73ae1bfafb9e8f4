//! Questions to whatever speaks Prometheus' query API: Prometheus, Thanos, Mimir, VictoriaMetrics.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::usage::Usage;
use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of one answer.
const MAX: usize = 256 << 20;

/// A server, and how it is asked.
pub(super) struct Server {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    query: Uri,
    headers: HeaderMap,
}

/// One series of an answer, at the time that was asked for.
pub(super) struct Sample {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
struct Data {
    #[serde(default)]
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Server {
    /// The server at `url`, which may have a path; `headers` are lines of `NAME: VALUE`.
    pub(super) fn new(url: &str, headers: &[String], token: Option<&str>) -> anyhow::Result<Self> {
        let query = format!("{}/api/v1/query", url.trim_end_matches('/'));
        let wrong = || format!("--prometheus {url}: expected a URL like http://prometheus:9090");
        let query: Uri = query.parse().map_err(|_| Usage(wrong()))?;
        if !matches!(query.scheme_str(), Some("http" | "https")) {
            bail!(Usage(wrong()));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .context("read the system's certificates (SSL_CERT_FILE names others)")?
            .https_or_http()
            .enable_http1()
            .build();
        let mut all = HeaderMap::new();
        all.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        for line in headers {
            let wrong = || format!("--prometheus-header {line:?}: expected NAME: VALUE");
            let (name, value) = line.split_once(':').with_context(wrong)?;
            let name: HeaderName = name.trim().parse().with_context(wrong)?;
            all.insert(name, value.trim().parse().with_context(wrong)?);
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .context("the token has characters that no header can have")?;
            value.set_sensitive(true);
            all.insert(AUTHORIZATION, value);
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            query,
            headers: all,
        })
    }

    /// The answer to a query as of `at`, in seconds since the Unix epoch.
    pub(super) async fn ask(&self, query: &str, at: f64) -> anyhow::Result<Vec<Sample>> {
        let form = format!("query={}&time={at}", encoded(query));
        let mut request = Request::builder().method(Method::POST).uri(&self.query);
        if let Some(headers) = request.headers_mut() {
            *headers = self.headers.clone();
        }
        let request = request.body(Full::from(form)).context("make the request")?;
        let answer = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
            anyhow::Ok((status, body))
        };
        let (status, body) = tokio::time::timeout(PATIENCE, answer)
            .await
            .with_context(|| format!("no answer from {} in a minute", self.query))?
            .with_context(|| format!("ask {}", self.query))?;
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(error) if status.is_success() => {
                return Err(error).with_context(|| format!("the answer of {}", self.query));
            }
            Err(_) => bail!("{} answers {status}", self.query),
        };
        if answer.status != "success" {
            bail!("{} answers {status}: {}", self.query, answer.error);
        }
        let series = answer.data.result.into_iter();
        Ok(series
            .filter_map(|series| {
                Some(Sample {
                    value: series
                        .value
                        .1
                        .parse()
                        .ok()
                        .filter(|v: &f64| v.is_finite())?,
                    labels: series.metric,
                })
            })
            .collect())
    }
}

/// As the value of a form's field.
fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // A string takes everything.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
