//! The questions as a contract: exit codes, and that a program reads nothing but what it asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::daemon::{Answer, mtls, run};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `mtls ARGS --from` the capture of the demo.
fn ask(args: &str) -> Result<Answer> {
    let demo = root().join("tests/data/demo.pcap");
    let mut all: Vec<String> = args.split(' ').map(Into::into).collect();
    all.extend(["--from".into(), demo.display().to_string()]);
    mtls(all)
}

#[test]
fn the_gate_has_an_exit_code_for_each_outcome() -> Result<()> {
    let address = "--between 10.42.1.6 10.42.1.2";
    for (args, code) in [
        (format!("check {address}"), 0),
        ("check".to_owned(), 1),
        (format!("check {address} --min-tls 1.3"), 1),
        (format!("check {address} --min-tls 1.2"), 0),
        ("check --to 10.42.1.4".to_owned(), 1),
        ("check --to 10.42.1.4 --require tls".to_owned(), 0),
        ("check --to 203.0.113.7".to_owned(), 4),
        (format!("check {address} --min-flows 1000"), 4),
        (format!("check {address} --require deny"), 1),
        ("check --require green".to_owned(), 2),
        ("check --min-tls 7".to_owned(), 2),
        ("check -o xml".to_owned(), 2),
        ("check --min-flows 0".to_owned(), 2),
        ("check --rules /nonexistent".to_owned(), 1),
        ("check --strict-ready".to_owned(), 1),
        ("check --strict-ready -n nowhere".to_owned(), 4),
    ] {
        let answer = ask(&args)?;
        assert_eq!(answer.code, Some(code), "{args}: {answer:?}");
    }
    let nobody = mtls(["check", "--socket", "/nonexistent/mtls.sock"])?;
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    Ok(())
}

#[test]
fn a_program_reads_nothing_but_what_it_asked_for() -> Result<()> {
    for args in [
        "edges -o json",
        "check -o json",
        "check -o sarif",
        "classify -o json",
    ] {
        let answer = match args.strip_prefix("classify ") {
            Some(rest) => {
                let demo = root().join("tests/data/demo.pcap").display().to_string();
                mtls(["classify", &demo].into_iter().chain(rest.split(' ')))?
            }
            None => ask(args)?,
        };
        serde_json::from_str::<Value>(&answer.out)
            .with_context(|| format!("{args}: {answer:?}"))?;
    }
    let lines = ask("edges -o jsonl")?;
    assert_eq!(lines.out.lines().count(), 7, "{lines:?}");
    for line in lines.out.lines() {
        serde_json::from_str::<Value>(line)?;
    }
    Ok(())
}

#[test]
fn an_answer_that_was_saved_is_asked_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (format, file) in [("json", "a.json"), ("jsonl", "a.jsonl")] {
        let saved = ask(&format!("edges -o {format}"))?.out;
        let path = dir.path().join(file);
        std::fs::write(&path, &saved)?;
        let path = path.to_str().context("a path that is text")?;
        let again = mtls(["edges", "-o", "jsonl", "--from", path])?;
        assert_eq!(again.out, ask("edges -o jsonl")?.out, "{format}");
        let clear = mtls([
            "edges",
            "-o",
            "name",
            "--verdict",
            "plaintext",
            "--from",
            path,
        ])?;
        assert_eq!(clear.out.lines().count(), 2, "{clear:?}");
    }
    Ok(())
}

/// The snippets for pipelines, run as the shell of a pipeline would.
#[test]
fn the_snippets_for_pipelines_do_what_the_page_says() -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/check.md"))?;
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("edges.json"), ask("edges -o json")?.out)?;
    let mtls = bin::mtls()?;
    let path = format!(
        "{}:{}",
        mtls.parent().context("a directory")?.display(),
        std::env::var("PATH")?
    );
    let mut ran = 0;
    for line in page.lines().map(str::trim) {
        let line = line.strip_prefix("- ").unwrap_or(line);
        if !line.starts_with("mtls check --from edges.json") {
            continue;
        }
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", line])
            .current_dir(dir.path())
            .env("PATH", &path);
        let answer = run(shell)?;
        assert_eq!(answer.code, Some(1), "{line}: {answer:?}");
        ran += 1;
    }
    assert_eq!(ran, 2, "a snippet for GitHub and one for GitLab");
    let junit = std::fs::read_to_string(dir.path().join("mtls.xml"))?;
    assert!(junit.contains("type=\"plaintext\""), "{junit}");
    Ok(())
}
