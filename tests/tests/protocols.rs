//! Real servers of many protocols and their clients, recorded: what each connection is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mtls_tests::daemon::mtls;
use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Verdict, evidence and protocol, by the capture's name.
fn truths() -> Result<BTreeMap<String, [String; 3]>> {
    let text = std::fs::read_to_string(corpus().join("protocols.csv"))?;
    text.lines()
        .skip(1)
        .map(|line| {
            let (name, truth) = line.split_once(',').context("a row of one column")?;
            let truth: Vec<_> = truth.split(',').map(str::to_owned).collect();
            let truth = truth.try_into().ok().context("a row of other columns")?;
            Ok((name.to_owned(), truth))
        })
        .collect()
}

#[test]
fn every_connection_is_what_its_peers_made_it() -> Result<()> {
    let truths = truths()?;
    assert!(truths.len() > 150, "only {} captures", truths.len());
    let mut args = vec!["classify".into(), "-o".into(), "jsonl".into()];
    let files = truths
        .keys()
        .map(|name| corpus().join("protocols").join(name));
    args.extend(files.map(PathBuf::into_os_string));
    let answer = mtls(args)?;
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let mut told = 0;
    for line in answer.out.lines() {
        let flow: Value = serde_json::from_str(line)?;
        let file = Path::new(flow["file"].as_str().context("no file name")?);
        let name = file.file_name().context("no file name")?.to_string_lossy();
        let [verdict, evidence, protocol] = &truths[&*name];
        assert_eq!(flow["verdict"], verdict.as_str(), "{name}: {flow:#}");
        assert_eq!(flow["evidence"], evidence.as_str(), "{name}: {flow:#}");
        assert_eq!(flow["protocol"], protocol.as_str(), "{name}: {flow:#}");
        told += 1;
    }
    assert_eq!(told, truths.len(), "one connection a file");
    Ok(())
}
