//! `cargo xtask bench classify`: `mtls classify` on one core, compared with tshark and ndpiReader
//! on the same files in the same run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

use super::capture::{self, Writer};
use crate::bin;

/// Each measurement is the median of this many runs.
const RUNS: usize = 5;

/// The fields requested from tshark: those that `mtls` reports for a flow, as far as tshark has
/// them.
const FACTS: [&str; 25] = [
    "frame.time_epoch",
    "tcp.stream",
    "ip.src",
    "tcp.srcport",
    "ip.dst",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "quic.version",
    "tls.record.content_type",
    "tls.record.length",
    "tls.alert_message.desc",
    "tls.handshake.type",
    "tls.handshake.version",
    "tls.handshake.ciphersuite",
    "tls.handshake.extensions_server_name",
    "tls.handshake.extensions_alpn_str",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.extensions_key_share_group",
    "x509ce.dNSName",
    "x509ce.uniformResourceIdentifier",
    "http.request.method",
    "http.host",
    "http.request.uri",
    "http.response.code",
];

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    capture: &'static str,
    tool: &'static str,
    flows: u32,
    bytes: u64,
    /// Median of the whole process's wall-clock time, in seconds.
    seconds: f64,
    flows_per_second: f64,
    bytes_per_second: f64,
    /// The ratio of `mtls`'s flows per second to this tool's.
    mtls_ratio: f64,
}

/// Peak memory with this many open connections.
#[derive(Debug, Serialize)]
struct Memory {
    flows: u32,
    decided: bool,
    peak_bytes: u64,
    /// Difference from the peak for an empty capture.
    bytes_per_flow: f64,
}

/// Creates the captures under `work`, measures, and prints a table or JSON.
pub fn run(corpus: &Path, datagrams: &Path, work: &Path, json: bool) -> Result<()> {
    std::fs::create_dir_all(work).with_context(|| format!("make {}", work.display()))?;
    // The peak memory of child processes never decreases, so the small ones are measured first.
    let memory = memory(corpus, work)?;
    let mut rows = Vec::new();
    for (name, flows, path, bytes) in captures(corpus, datagrams, work)? {
        eprintln!("{name}: {flows} flows, {} MB", bytes / 1_000_000);
        measure(name, flows, &path, bytes, &mut rows)?;
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    if json {
        let all = serde_json::json!({ "speed": rows, "memory": memory });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!(
        "{:<14} {:<10} {:>9} {:>9} {:>9} {:>12} {:>9} {:>10}",
        "CAPTURE", "TOOL", "FLOWS", "MB", "SECONDS", "FLOWS/S", "MB/S", "MTLS/TOOL"
    );
    for row in &rows {
        println!(
            "{:<14} {:<10} {:>9} {:>9.1} {:>9.3} {:>12.0} {:>9.0} {:>9.1}x",
            row.capture,
            row.tool,
            row.flows,
            row.bytes as f64 / 1e6,
            row.seconds,
            row.flows_per_second,
            row.bytes_per_second / 1e6,
            row.mtls_ratio
        );
    }
    println!(
        "\n{:>9} {:<22} {:>10} {:>11}",
        "FLOWS", "OPEN, EACH", "PEAK MB", "BYTES/FLOW"
    );
    for row in &memory {
        println!(
            "{:>9} {:<22} {:>10.1} {:>11.0}",
            row.flows,
            if row.decided {
                "after its handshake"
            } else {
                "without payload"
            },
            row.peak_bytes as f64 / 1e6,
            row.bytes_per_flow
        );
    }
    Ok(())
}

type Made = (&'static str, u32, PathBuf, u64);

fn captures(corpus: &Path, datagrams: &Path, work: &Path) -> Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, kinds, flows) in [
        (
            "tls13",
            handshakes(corpus, |version, truth| {
                version == "1.3" && !truth.contains('+')
            })?,
            20_000,
        ),
        (
            "tls12-mutual",
            handshakes(corpus, |version, truth| {
                version == "1.2" && truth == "mutual"
            })?,
            10_000,
        ),
        ("quic", connections(datagrams)?, 20_000),
        ("http", vec![capture::http()], 20_000),
    ] {
        let path = work.join(format!("{name}.pcap"));
        let mut writer = Writer::new(&path)?;
        let each = flows / kinds.len() as u32;
        let mut last = 0;
        for frames in kinds {
            writer.copies(&frames, last..last + each)?;
            last += each;
        }
        made.push((name, last, path, writer.finish()?));
    }
    let path = work.join("bulk.pcap");
    let mut writer = Writer::new(&path)?;
    bulk(&mut writer, 64, 8_000)?;
    made.push(("bulk", 64, path, writer.finish()?));
    Ok(made)
}

/// The flows of the corpus with one version and ground truth, each in a capture of its own.
fn handshakes(
    corpus: &Path,
    is_kind: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Vec<capture::Frame>>> {
    let truths = corpus.join("truth.csv");
    let truths =
        std::fs::read_to_string(&truths).with_context(|| format!("read {}", truths.display()))?;
    let mut handshakes = Vec::new();
    for line in truths.lines().skip(1) {
        let [name, _, _, version, truth] = line.split(',').collect::<Vec<_>>()[..] else {
            bail!("truth.csv has a line of another shape: {line}");
        };
        if is_kind(version, truth) {
            handshakes.push(capture::read(&corpus.join("pcap").join(name))?);
        }
    }
    ensure!(!handshakes.is_empty(), "the corpus has no such handshakes");
    Ok(handshakes)
}

/// The corpus's QUIC connections without losses and resumptions, which are one flow each.
fn connections(corpus: &Path) -> Result<Vec<Vec<capture::Frame>>> {
    let truths = corpus.join("truth.csv");
    let truths =
        std::fs::read_to_string(&truths).with_context(|| format!("read {}", truths.display()))?;
    let plain = ["quic-mutual-", "quic-server-only-", "quic-requested-none-"];
    let connections: Vec<_> = truths
        .lines()
        .filter_map(|line| line.split(',').next())
        .filter(|name| plain.iter().any(|kind| name.starts_with(kind)))
        .map(|name| capture::read(&corpus.join("pcap").join(name)))
        .collect::<Result<_>>()?;
    ensure!(
        !connections.is_empty(),
        "the corpus has no such connections"
    );
    Ok(connections)
}

/// `flows` connections that send plaintext in `segments` segments of 1,448 bytes each.
fn bulk(writer: &mut Writer, flows: u32, segments: u32) -> Result<()> {
    let http = capture::http();
    writer.copies(&http[..4], 0..flows)?;
    let start = http[4].bytes.len() as u32 - 54 + 1;
    let request = http[3].bytes.len() as u32 - 54 + 1;
    writer.copies(&http[4..5], 0..flows)?;
    for segment in 0..segments {
        let frame = capture::frame(false, start + segment * 1_448, request, 16, &[b'x'; 1_448]);
        writer.copies(&[frame], 0..flows)?;
    }
    Ok(())
}

fn measure(
    name: &'static str,
    flows: u32,
    path: &Path,
    bytes: u64,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let mut mtls = Command::new(bin::mtls()?);
    mtls.args(["classify", "-o", "jsonl"]).arg(path);
    let told = mtls.output().context("start mtls")?;
    let lines = told.stdout.split(|byte| *byte == b'\n').count() - 1;
    ensure!(
        lines == flows as usize,
        "{name}: {flows} flows were written, and mtls tells of {lines}"
    );
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-Y", "tls || http || quic", "-T", "fields"]);
    for field in FACTS {
        tshark.args(["-e", field]);
    }
    tshark.arg("-r");
    tshark.arg(path);
    let mut ndpi = Command::new("ndpiReader");
    ndpi.arg("-i").arg(path);
    // The other two are so slow that their variance does not matter.
    let mut times = Vec::new();
    for (tool, mut command, runs) in [
        ("mtls", mtls, RUNS),
        ("ndpiReader", ndpi, 3),
        ("tshark", tshark, 1),
    ] {
        // It would need minutes for the bulk data, which says nothing about flows per second.
        if tool == "tshark" && name == "bulk" {
            continue;
        }
        let mut seconds = Vec::new();
        for _ in 0..runs {
            seconds.push(timed(&mut command)?.as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        times.push((tool, seconds[seconds.len() / 2]));
    }
    let own = times[0].1;
    for (tool, seconds) in times {
        rows.push(Row {
            capture: name,
            tool,
            flows,
            bytes,
            seconds,
            flows_per_second: f64::from(flows) / seconds,
            bytes_per_second: bytes as f64 / seconds,
            mtls_ratio: seconds / own,
        });
    }
    Ok(())
}

/// Runs a command on one core; returns its duration.
fn timed(command: &mut Command) -> Result<Duration> {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["-c", "1"])
        .arg(command.get_program())
        .args(command.get_args());
    pinned.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = pinned
        .status()
        .context("start taskset (Debian: apt-get install util-linux tshark libndpi-bin)")?;
    let took = start.elapsed();
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().display());
    }
    Ok(took)
}

fn memory(corpus: &Path, work: &Path) -> Result<Vec<Memory>> {
    let handshake = capture::read(&corpus.join("pcap/1.3-server-only-go-openssl.pcap"))?;
    let handshake = capture::without_end(&handshake);
    let mut rows = Vec::new();
    let mut base = 0;
    for (flows, decided) in [
        (0, false),
        (100_000, false),
        (100_000, true),
        (1_000_000, false),
        (1_000_000, true),
    ] {
        let path = work.join("memory.pcap");
        let mut writer = Writer::new(&path)?;
        let frames = if decided {
            handshake.clone()
        } else {
            capture::idle()
        };
        writer.copies(&frames, 0..flows)?;
        writer.finish()?;
        let mut command = Command::new(bin::mtls()?);
        command.args(["classify", "-o", "jsonl"]).arg(&path);
        timed(&mut command)?;
        std::fs::remove_file(&path)?;
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the peak memory")?;
        let peak = u64::try_from(usage.max_rss()).unwrap_or(0) * 1_024;
        if flows == 0 {
            base = peak;
            continue;
        }
        ensure!(peak >= base, "peak memory shrank");
        rows.push(Memory {
            flows,
            decided,
            peak_bytes: peak,
            bytes_per_flow: (peak - base) as f64 / f64::from(flows),
        });
    }
    Ok(rows)
}
