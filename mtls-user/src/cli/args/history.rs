//! The options that query stored metrics.

use std::path::PathBuf;
use std::time::Duration;

use mtls_core::record::Time;

use crate::select::Since;
use crate::source::Question;

/// How long before its end the past is looked at.
const WINDOW: Duration = Duration::from_mins(10);

/// A server of metrics.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Metrics stored in Prometheus (instead of a daemon)")]
pub(super) struct History {
    /// Query this Prometheus server, or one with the same API (Thanos, Mimir, VictoriaMetrics), about
    /// all nodes. --since sets how far back [default: 10m]. If no daemon answers, `mtls edges` queries
    /// the server of the environment variable MTLS_PROMETHEUS.
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// The ten minutes before this time (2026-11-28T05:25:00Z).
    #[arg(long, value_parser = time, value_name = "TIME", requires = "prometheus", conflicts_with = "since")]
    at: Option<Time>,
    /// Send this header to the server (X-Scope-OrgID: shop); repeatable.
    #[arg(
        long = "prometheus-header",
        value_name = "NAME: VALUE",
        requires = "prometheus"
    )]
    headers: Vec<String>,
    /// Send the bearer token of this file to the server.
    #[arg(
        long = "prometheus-token-file",
        value_name = "FILE",
        requires = "prometheus"
    )]
    token: Option<PathBuf>,
}

/// The server that is asked where no daemon answers.
const SECOND: &str = "MTLS_PROMETHEUS";

impl History {
    /// What to ask the server that the environment names, if it names one.
    pub(super) fn second(&self, since: Option<Since>) -> Option<Question> {
        let url = std::env::var(SECOND).ok().filter(|url| !url.is_empty())?;
        let named = Self {
            prometheus: Some(url),
            ..self.clone()
        };
        named.question(since)
    }

    /// What to ask a server of metrics, where one is named.
    pub(super) fn question(&self, since: Option<Since>) -> Option<Question> {
        let now = Time::from_nanos(mtls_node::clock::now());
        let at = self.at.unwrap_or(now);
        let window = since.map_or(WINDOW, |since| {
            let begin = since.time(at).as_nanos();
            Duration::from_nanos(at.as_nanos().saturating_sub(begin))
        });
        Some(Question {
            url: self.prometheus.clone()?,
            at,
            window,
            headers: self.headers.clone(),
            token: self.token.clone(),
        })
    }
}

/// A point in time as RFC 3339 has it.
fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "expected a time like 2026-11-28T05:25:00Z".into())
}
