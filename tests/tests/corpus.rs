//! Every captured handshake against what its peers knew of it, and against tshark.

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

/// What `mtls classify` says, by file name.
fn flows(names: impl Iterator<Item = String>) -> Result<BTreeMap<String, Value>> {
    let mut args = vec!["classify".into(), "-o".into(), "jsonl".into()];
    args.extend(names.map(|name| corpus().join("pcap").join(name).into_os_string()));
    let answer = mtls(args)?;
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let mut flows = BTreeMap::new();
    for line in answer.out.lines() {
        let flow: Value = serde_json::from_str(line)?;
        let file = flow["file"].as_str().context("no file name")?;
        let name = Path::new(file).file_name().context("no file name")?;
        let before = flows.insert(name.to_string_lossy().into_owned(), flow.clone());
        assert_eq!(before, None, "one flow a file");
    }
    Ok(flows)
}

#[test]
fn every_handshake_is_what_its_peers_know_it_to_be() -> Result<()> {
    let truths = truths()?;
    let flows = flows(truths.keys().cloned())?;
    assert!(truths.len() > 200, "the corpus has {} flows", truths.len());
    for (name, row) in &truths {
        let flow = &flows[name];
        let tls = &flow["tls"];
        let (verdict, certificate) = match row[4].as_str() {
            "server-only" => ("tls", "not-requested"),
            "mutual" => ("mtls", "presented"),
            "requested-none" => ("tls", "not-presented"),
            // A client that had closed before the server's alert: it may be a close_notify.
            "refused" if left_first(flow) => ("tls-unproven", "not-presented"),
            "refused" => ("failed", "refused"),
            other => panic!("unknown truth {other}"),
        };
        assert_eq!(flow["verdict"], verdict, "{name}: {flow:#}");
        assert_eq!(tls["client_certificate"], certificate, "{name}: {flow:#}");
        assert_eq!(tls["version"], row[3].as_str(), "{name}");
        assert_eq!(flow["origin"], "syn", "{name}");
        let evidence = if row[3] == "1.3" {
            "handshake-shape"
        } else {
            "certificates"
        };
        assert_eq!(flow["evidence"], evidence, "{name}");
        let identity = "spiffe://cluster.local/ns/shop/sa/db";
        if row[3] == "1.2" {
            assert_eq!(tls["server_identity"], identity, "{name}");
        }
        if row[3] == "1.2" && row[4] == "mutual" {
            assert_eq!(tls["client_identity"], identity, "{name}");
        }
    }
    Ok(())
}

fn left_first(flow: &Value) -> bool {
    let reason = flow["reason"].as_str().unwrap_or_default();
    reason.starts_with("the client left before")
}

#[test]
fn tshark_reads_the_same_hellos() -> Result<()> {
    if !runs_here(&[Need::Tshark]) {
        return Ok(());
    }
    let truths = truths()?;
    let flows = flows(truths.keys().cloned())?;
    let (capture, starts) = merged(flows.keys())?;
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "json", "-Y", "tls.handshake.type <= 2", "-r"]);
    tshark.arg(capture.path());
    for field in [
        "frame.number",
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
        let tls = &flows[name]["tls"];
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

/// All captures in one, and the number of each one's first frame: tshark takes long to start.
fn merged<'a>(
    names: impl Iterator<Item = &'a String>,
) -> Result<(tempfile::NamedTempFile, BTreeMap<u64, String>)> {
    let mut all = tempfile::NamedTempFile::new()?;
    let mut starts = BTreeMap::new();
    let mut frames = 0;
    for name in names {
        let bytes = std::fs::read(corpus().join("pcap").join(name))?;
        let from = if frames == 0 { 0 } else { 24 };
        all.write_all(&bytes[from..])?;
        starts.insert(frames + 1, name.clone());
        let mut at = 24;
        while at < bytes.len() {
            let length = bytes[at + 8..].first_chunk().context("a cut frame")?;
            at += 16 + u32::from_le_bytes(*length) as usize;
            frames += 1;
        }
    }
    Ok((all, starts))
}

/// The code of the cipher suites that the corpus has (IANA's registry).
fn code(name: &str) -> u16 {
    match name {
        "TLS_AES_128_GCM_SHA256" => 0x1301,
        "TLS_AES_256_GCM_SHA384" => 0x1302,
        "TLS_CHACHA20_POLY1305_SHA256" => 0x1303,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => 0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => 0xc02c,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => 0xcca9,
        other => panic!("add the code of {other}"),
    }
}
