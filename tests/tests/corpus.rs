//! Every captured handshake compared with the ground truth, and with tshark.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use mtls_tests::daemon::mtls;
use mtls_tests::skip::{Need, runs_here};
use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The captures by file name, each with its row of `truth.csv`.
fn truths() -> Result<BTreeMap<String, Vec<String>>> {
    let text = std::fs::read_to_string(corpus().join("truth.csv")).context("read truth.csv")?;
    Ok(text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|row| (row[0].clone(), row))
        .collect())
}

/// The reports of `mtls classify` on each file's flows, in the order in which they began.
fn flows(files: impl Iterator<Item = PathBuf>) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut args = vec!["classify".into(), "-o".into(), "jsonl".into()];
    args.extend(files.map(PathBuf::into_os_string));
    let answer = mtls(args)?;
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let mut flows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in answer.out.lines() {
        let flow: Value = serde_json::from_str(line)?;
        let file = flow["file"].as_str().context("no file name")?;
        let name = Path::new(file).file_name().context("no file name")?;
        let name = name.to_string_lossy().into_owned();
        flows.entry(name).or_default().push(flow);
    }
    for flows in flows.values_mut() {
        flows.sort_by_key(|flow| flow["first_seen"].as_str().map(str::to_owned));
    }
    Ok(flows)
}

fn pcap(name: &str) -> PathBuf {
    corpus().join("pcap").join(name)
}

/// Verdict, evidence and the state of the client certificate for a ground truth of `truth.csv`.
/// `proof` is the evidence for that version.
fn expected<'a>(truth: &str, proof: &'a str) -> (&'a str, &'a str, &'a str) {
    // The ticket is unencrypted before TLS 1.3.
    let continued = match proof {
        "certificates" => "resumption",
        _ => "inherited",
    };
    match truth {
        "server-only" | "post-handshake" => ("tls", proof, "not-requested"),
        "mutual" => ("mtls", proof, "presented"),
        "requested-none" => ("tls", proof, "not-presented"),
        "refused" => ("failed", proof, "refused"),
        "resumed-mutual" => ("mtls", continued, "presented"),
        "resumed-server-only" => ("tls", continued, "unknown"),
        "psk" | "renegotiated-rsa" | "renegotiated-none" => {
            ("tls-unproven", "handshake-shape", "unknown")
        }
        "renegotiated" => ("mtls", "handshake-shape", "presented"),
        "rejected" => ("failed", proof, "unknown"),
        "no-common-version" | "no-common-cipher" => ("failed", "first-bytes", "unknown"),
        other => panic!("unknown truth {other}"),
    }
}

/// How a client may hide what it sent: padding, small fragments, and a certificate that OpenSSL does not
/// write together with the rest of its flight.
const HIDDEN: [&str; 3] = ["padded-", "fragmented-", "long-"];

#[test]
fn every_handshake_is_what_its_peers_know_it_to_be() -> Result<()> {
    let truths = truths()?;
    let flows = flows(truths.keys().map(|name| pcap(name)))?;
    assert!(truths.len() > 250, "the corpus has {} files", truths.len());
    let (mut left_first, mut hidden) = (Vec::new(), Vec::new());
    for (name, row) in &truths {
        let (version, truth) = (&row[3], &row[4]);
        let proof = if version == "1.3" {
            "handshake-shape"
        } else {
            "certificates"
        };
        assert_eq!(flows[name].len(), truth.split('+').count(), "{name}");
        for (flow, truth) in flows[name].iter().zip(truth.split('+')) {
            let tls = &flow["tls"];
            assert_eq!(flow["origin"], "syn", "{name}");
            if flow["reason"]
                .as_str()
                .is_some_and(|reason| reason.starts_with("client closed before"))
            {
                assert_eq!(flow["verdict"], "tls-unproven", "{name}");
                assert_eq!(truth, "refused", "{name}");
                left_first.push(name.as_str());
                continue;
            }
            assert!(!is_unconfirmed(flow), "{name}: {flow:#}");
            let how = HIDDEN.iter().find(|how| truth.starts_with(**how));
            let truth = truth.trim_start_matches(how.copied().unwrap_or_default());
            if how.is_some() && flow["verdict"] == "tls-unproven" {
                assert_eq!(tls["client_certificate"], "unknown", "{name}: {flow:#}");
                hidden.push(truth.to_owned());
                continue;
            }
            let (verdict, evidence, certificate) = expected(truth, proof);
            assert_eq!(flow["verdict"], verdict, "{name}: {flow:#}");
            assert_eq!(flow["evidence"], evidence, "{name}: {flow:#}");
            assert_eq!(tls["client_certificate"], certificate, "{name}: {flow:#}");
            if evidence != "first-bytes" {
                assert_eq!(tls["version"], version.as_str(), "{name}");
            }
            // A client that rejects the server's certificate does not report its own session.
            if !matches!(verdict, "failed") {
                assert_eq!(
                    tls["resumed"],
                    truth.starts_with("resumed-"),
                    "{name}: {flow:#}"
                );
            }
            assert_eq!(tls["external_psk"] == true, truth == "psk", "{name}");
            if truth == "post-handshake" {
                assert_eq!(tls["post_handshake_auth"], true, "{name}: {flow:#}");
            }
            let identity = "spiffe://cluster.local/ns/shop/sa/db";
            if proof == "certificates" && matches!(verdict, "mtls" | "tls") {
                assert_eq!(tls["server_identity"], identity, "{name}");
            }
            if proof == "certificates" && matches!(truth, "mutual" | "resumed-mutual") {
                assert_eq!(tls["client_identity"], identity, "{name}");
            }
        }
    }
    // The client had closed before the server's alert arrived: it may be a close_notify.
    assert_eq!(left_first, ["1.3-refused-openssl-java.pcap"]);
    // What a client may hide by padding or fragments is no evidence, whatever it was.
    for truth in ["server-only", "requested-none", "mutual"] {
        let found = hidden.iter().filter(|hidden| *hidden == truth).count();
        assert!(found > 5, "{found} flows hide that they are {truth}");
    }
    Ok(())
}

/// It is known which session a resumption continues only if its full handshake was seen.
#[test]
fn a_resumption_without_its_original_is_unproven() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut names = Vec::new();
    for (name, row) in truths()? {
        if row[4].contains("+resumed-") {
            std::fs::write(dir.path().join(&name), without_first_flow(&pcap(&name))?)?;
            names.push(name);
        }
    }
    assert!(names.len() >= 7, "{names:?}");
    let flows = flows(names.iter().map(|name| dir.path().join(name)))?;
    for name in &names {
        let [flow] = &flows[name][..] else {
            panic!("{name} has {} flows left", flows[name].len());
        };
        assert_eq!(flow["verdict"], "tls-unproven", "{name}: {flow:#}");
        assert_eq!(flow["tls"]["resumed"], true, "{name}: {flow:#}");
        assert_eq!(
            flow["tls"]["client_certificate"], "unknown",
            "{name}: {flow:#}"
        );
    }
    Ok(())
}

/// Without the server's direction, TLS 1.3 only shows whether the client sent a certificate; the
/// verdict then says that it is unconfirmed. In earlier versions, the suite, which may be
/// unencrypted, is not known either, so there is no verdict.
#[test]
fn without_the_servers_direction_nothing_is_confirmed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let truths = truths()?;
    for name in truths.keys() {
        let client = filtered(&pcap(name), |first, from, _| from == first)?;
        std::fs::write(dir.path().join(name), client)?;
    }
    let flows = flows(truths.keys().map(|name| dir.path().join(name)))?;
    let mut told = 0;
    for (name, row) in &truths {
        for flow in &flows[name] {
            // The server may have rejected the certificate.
            assert_ne!(flow["verdict"], "mtls", "{name}: {flow:#}");
            if flow["verdict"] == "tls" {
                assert!(is_unconfirmed(flow), "{name}: {flow:#}");
                assert_eq!(row[3], "1.3", "{name}: {flow:#}");
                told += 1;
            }
            let presented = flow["tls"]["client_certificate"] == "presented";
            let server_only = ["server-only", "requested-none"].contains(&row[4].as_str());
            assert!(!(server_only && presented), "{name}: {flow:#}");
            told += usize::from(presented && row[3] == "1.3");
            assert!(
                !(row[4] == "mutual" && flow["verdict"] == "tls"),
                "{name}: {flow:#}"
            );
        }
    }
    assert!(told > 120, "only {told} flows have a verdict");
    Ok(())
}

fn is_unconfirmed(flow: &Value) -> bool {
    let notes = flow["notes"].as_array().into_iter().flatten();
    notes
        .filter_map(Value::as_str)
        .any(|note| note.starts_with("unconfirmed: "))
}

fn without_first_flow(path: &Path) -> Result<Vec<u8>> {
    filtered(path, |first, from, to| from != first && to != first)
}

/// The frames of a capture to keep, selected by the port that sent the first frame and by their own
/// two ports. All are IPv4 without options over Ethernet.
fn filtered(path: &Path, keep: impl Fn(&[u8], &[u8], &[u8]) -> bool) -> Result<Vec<u8>> {
    const PORTS: usize = 16 + 14 + 20;
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let first = &bytes[24 + PORTS..][..2];
    let mut rest = bytes[..24].to_vec();
    for record in records(&bytes)? {
        let (from, to) = record[PORTS..][..4].split_at(2);
        if keep(first, from, to) {
            rest.extend_from_slice(record);
        }
    }
    Ok(rest)
}

/// The records of a capture: each frame after its header.
fn records(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut records = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let length = bytes[at + 8..].first_chunk().context("a cut frame")?;
        let end = at + 16 + u32::from_le_bytes(*length) as usize;
        records.push(bytes.get(at..end).context("a cut frame")?);
        at = end;
    }
    Ok(records)
}

#[test]
fn tshark_reads_the_same_hellos() -> Result<()> {
    if !runs_here(&[Need::Tshark]) {
        return Ok(());
    }
    let truths = truths()?;
    let flows = flows(truths.keys().map(|name| pcap(name)))?;
    let (capture, starts) = merged(flows.keys())?;
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "json", "-Y", "tls.handshake.type <= 2", "-r"]);
    tshark.arg(capture.path());
    for field in [
        "frame.number",
        "tcp.srcport",
        "tcp.dstport",
        "tls.handshake.type",
        "tls.handshake.extensions_server_name",
        "tls.handshake.ciphersuite",
    ] {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().context("run tshark")?;
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let mut compared = 0;
    for packet in packets {
        let layers = &packet["_source"]["layers"];
        let first = |field: &str| layers[field][0].as_str().map(str::to_owned);
        let number: u64 = first("frame.number").context("no number")?.parse()?;
        let (_, name) = starts
            .range(..=number)
            .next_back()
            .context("a frame of no file")?;
        let ports = [first("tcp.srcport"), first("tcp.dstport")].map(Option::unwrap_or_default);
        let is_this = |flow: &&Value| ports.contains(&flow["src"]["port"].to_string());
        let flow = flows[name].iter().find(is_this).context("no such flow")?;
        let tls = &flow["tls"];
        match first("tls.handshake.type").as_deref() {
            Some("1") => {
                let sni = first("tls.handshake.extensions_server_name");
                assert_eq!(tls["sni"].as_str(), sni.as_deref(), "{name}");
                compared += 1;
            }
            Some("2") => {
                let suite = first("tls.handshake.ciphersuite").context("no cipher suite")?;
                let suite = u16::from_str_radix(suite.trim_start_matches("0x"), 16)?;
                let named = tls["cipher"].as_str().context("no cipher")?;
                assert_eq!(suite, code(named), "{name}");
                compared += 1;
            }
            _ => {}
        }
    }
    assert!(
        compared >= 2 * flows.len(),
        "only {compared} hellos were compared"
    );
    Ok(())
}

/// All captures in one, with the number of each one's first frame, because tshark starts slowly.
fn merged<'a>(
    names: impl Iterator<Item = &'a String>,
) -> Result<(tempfile::NamedTempFile, BTreeMap<u64, String>)> {
    let mut all = tempfile::NamedTempFile::new()?;
    let mut starts = BTreeMap::new();
    let mut frames = 0;
    for name in names {
        let bytes = std::fs::read(pcap(name))?;
        let from = if frames == 0 { 0 } else { 24 };
        all.write_all(&bytes[from..])?;
        starts.insert(frames + 1, name.clone());
        frames += records(&bytes)?.len() as u64;
    }
    Ok((all, starts))
}

/// The code of the cipher suites in the corpus (IANA registry).
fn code(name: &str) -> u16 {
    match name {
        "TLS_AES_128_GCM_SHA256" => 0x1301,
        "TLS_AES_256_GCM_SHA384" => 0x1302,
        "TLS_CHACHA20_POLY1305_SHA256" => 0x1303,
        "TLS_AES_128_CCM_8_SHA256" => 0x1305,
        "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384" => 0x00ab,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA" => 0xc00a,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => 0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => 0xc02c,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => 0xcca9,
        other => panic!("add the code of {other}"),
    }
}

/// Real servers of many protocols and their clients, recorded once.
#[test]
fn every_connection_is_what_its_peers_made_it() -> Result<()> {
    let text = std::fs::read_to_string(corpus().join("protocols.csv"))?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    assert!(rows.len() > 150, "only {} captures", rows.len());
    let files = rows
        .iter()
        .map(|row| corpus().join("protocols").join(row[0]));
    let flows = flows(files)?;
    for row in &rows {
        let [flow] = &flows[row[0]][..] else {
            panic!("{}: one connection a file", row[0]);
        };
        let found = ["verdict", "evidence", "protocol"].map(|key| flow[key].as_str());
        assert_eq!(
            found.map(Option::unwrap_or_default),
            row[1..],
            "{}: {flow:#}",
            row[0]
        );
    }
    Ok(())
}
