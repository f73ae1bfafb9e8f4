//! Debian's Prometheus and Alertmanager, on a test's node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::http::{encoded, json, until};
use crate::netns::Node;
use crate::process::Process;
use crate::skip::Need;

/// The programs that are run here.
pub const PROGRAMS: Need = Need::Programs(&["prometheus", "promtool", "prometheus-alertmanager"]);
/// Address of the daemon's metrics.
pub const METRICS: SocketAddr = local(9488);
/// Prometheus' address.
pub const PROMETHEUS: SocketAddr = local(9090);
/// Alertmanager's address.
pub const ALERTMANAGER: SocketAddr = local(9093);
/// Address of the webhook for alerts.
pub const HOOK: SocketAddr = local(9094);

/// Timeout for starting one of them.
const PATIENCE: Duration = Duration::from_secs(30);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The files shipped for Prometheus.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// Rules with the times of a test: five minutes are eight seconds.
pub fn hurried(rules: &str) -> Result<String> {
    let hurried = rules.replace("< 300", "< 8").replace("< 900", "< 8");
    ensure!(
        hurried != rules,
        "the rules have other times than this test knows"
    );
    Ok(hurried)
}

/// A running Prometheus, which scrapes a daemon every second.
pub struct Prometheus(Process);

impl Prometheus {
    /// Starts it with these rules; alerts go to [`ALERTMANAGER`].
    pub fn start(node: &Node, rules: &str) -> Result<Self> {
        let files = node.files();
        std::fs::write(files.join("rules.yml"), rules)?;
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
            rule_files: [rules.yml]\n\
            alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{ALERTMANAGER}']}}]}}]}}\n\
            scrape_configs: [{{job_name: mtls, static_configs: [{{targets: ['{METRICS}']}}]}}]\n"
        );
        std::fs::write(files.join("prometheus.yml"), config)?;
        let mut command = Command::new("prometheus");
        command.arg(format!(
            "--config.file={}",
            files.join("prometheus.yml").display()
        ));
        command.arg(format!(
            "--storage.tsdb.path={}",
            files.join("tsdb").display()
        ));
        command.arg(format!("--web.listen-address={PROMETHEUS}"));
        let process = Process::start(command)?;
        let ready = || crate::http::get(PROMETHEUS, "/-/ready", &[]).map(Some);
        until(PATIENCE, "Prometheus gets ready", ready).with_context(|| process.told())?;
        Ok(Self(process))
    }

    /// The current result of a query: a vector's samples.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = json(
            PROMETHEUS,
            &format!("/api/v1/query?query={}", encoded(query)),
        )
        .with_context(|| format!("{query}\n{}", self.0.told()))?;
        result(query, &answer)
    }

    /// The results of a query between two times (seconds since the epoch), one for each second.
    pub fn range(&self, query: &str, from: u64, to: u64) -> Result<Vec<Value>> {
        let path = format!(
            "/api/v1/query_range?query={}&start={from}&end={to}&step=1",
            encoded(query)
        );
        let answer = json(PROMETHEUS, &path).with_context(|| query.to_owned())?;
        result(query, &answer)
    }
}

fn result(query: &str, answer: &Value) -> Result<Vec<Value>> {
    let result = answer["data"]["result"].as_array();
    Ok(result
        .with_context(|| format!("{query}: {answer}"))?
        .clone())
}

/// Starts an Alertmanager that posts every alert to [`HOOK`] at once.
pub fn alertmanager(node: &Node) -> Result<Process> {
    let files = node.files();
    let config = format!(
        "route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
        receivers: [{{name: hook, webhook_configs: [{{url: 'http://{HOOK}/', send_resolved: true}}]}}]\n"
    );
    std::fs::write(files.join("alertmanager.yml"), config)?;
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!(
        "--config.file={}",
        files.join("alertmanager.yml").display()
    ));
    command.arg(format!("--storage.path={}", files.join("alerts").display()));
    command.arg(format!("--web.listen-address={ALERTMANAGER}"));
    command.arg("--cluster.listen-address=");
    let process = Process::start(command)?;
    let ready = || crate::http::get(ALERTMANAGER, "/-/ready", &[]).map(Some);
    until(PATIENCE, "Alertmanager gets ready", ready).with_context(|| process.told())?;
    Ok(process)
}
