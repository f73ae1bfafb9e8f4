//! Queries as a contract: exit codes, and that programs read only what they asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::daemon::{Answer, mtls, run};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `mtls ARGS --from` the demo's capture.
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
        ("check --rules /nonexistent".to_owned(), 2),
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

#[test]
fn an_edge_is_explained_and_what_is_none_says_what_there_is() -> Result<()> {
    let answer = ask("explain 10.42.1.1 10.42.1.4:8443")?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for part in [
        "TLS, server only, 1 of 1 connection,",
        "did not request",
        "what to do next",
    ] {
        assert!(answer.out.contains(part), "{part}: {answer:?}");
    }
    let json: Value = serde_json::from_str(&ask("explain 10.42.1.1 10.42.1.4 -o json")?.out)?;
    let id = json["items"][0]["flow"]["id"].as_str().context("an id")?;
    let by_id = ask(&format!("explain {id} -o json"))?;
    let by_id: Value = serde_json::from_str(&by_id.out)?;
    assert_eq!(by_id["items"][0]["flow"], json["items"][0]["flow"]);
    let nothing = ask("explain 10.42.1.4 10.42.1.1")?;
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(1), ""));
    assert!(
        ask("explain 10.42.1.1 10.42.1.4:1")?
            .err
            .contains("10.42.1.4:8443")
    );
    assert_eq!(ask("explain 10.42.1.1 a//b")?.code, Some(2));
    Ok(())
}

#[test]
fn what_has_changed_is_told_and_fails_where_it_is_worse() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let save = |name: &str, args: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, ask(args)?.out)?;
        Ok(path.display().to_string())
    };
    let all = save("all.json", "edges -o json")?;
    let some = save("some.json", "edges -o json --not port=8080")?;
    let diff = |before: &str, after: &str| mtls(["diff", "--fail-on-worse", before, after]);
    let same = diff(&all, &all)?;
    assert_eq!(same.code, Some(0), "{same:?}");
    assert_eq!(same.out, "0 worse, 0 new, 0 better, 0 gone, 7 as before");
    assert_eq!(diff(&all, &some)?.code, Some(0));
    let new = diff(&some, &all)?;
    assert_eq!(new.code, Some(1), "{new:?}");
    assert!(
        new.out
            .ends_with("0 worse, 2 new, 0 better, 0 gone, 5 as before"),
        "{new:?}"
    );
    let baseline = ask(&format!("edges -o jsonl --baseline {some}"))?;
    assert_eq!(baseline.out.lines().count(), 2, "{baseline:?}");
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

/// A single connection is not "1 connections".
#[test]
fn one_is_singular() -> Result<()> {
    let one = "--between 10.42.1.1 10.42.1.4";
    for verb in [
        "edges",
        "edges --all -o linkerd",
        "flows",
        "inventory --policy modern",
        "inventory --certificates",
        "check",
        "check -o github",
        "check -o junit",
        "check --strict-ready",
    ] {
        let answer = ask(&format!("{verb} {one}"))?;
        let text = format!("{}{}", answer.out, answer.err);
        assert!(!text.is_empty());
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let next = words
                .peek()
                .unwrap_or(&"")
                .trim_matches(|c: char| !c.is_alphanumeric());
            let is_plural = [
                "connections",
                "edges",
                "pods",
                "interfaces",
                "packets",
                "exchanges",
            ];
            assert!(
                word != "1" || !is_plural.contains(&next),
                "{verb}: 1 {next} in\n{text}"
            );
        }
    }
    Ok(())
}

/// What a terminal without UTF-8 shows has ASCII alone, for names that are ASCII.
#[test]
fn a_terminal_without_utf_8_gets_ascii() -> Result<()> {
    let demo = root().join("tests/data/demo.pcap");
    let demo = demo.to_str().context("a path")?;
    for line in [
        "edges",
        "edges --all -o wide",
        "edges -o linkerd",
        "flows -o wide",
        "inventory --policy modern -o wide",
        "inventory --certificates",
        "check",
        "check --strict-ready",
        "explain 10.42.1.1 10.42.1.4",
    ] {
        let args = line.split(' ').chain(["--from", demo]);
        let mut command = Command::new(bin::mtls()?);
        command
            .args(args)
            .env("LC_ALL", "C")
            .env_remove("MTLS_SOCKET");
        let answer = run(command)?;
        assert!(!answer.out.is_empty(), "{line}: {answer:?}");
        assert!(
            answer.out.is_ascii() && answer.err.is_ascii(),
            "{line}: {answer:?}"
        );
    }
    Ok(())
}

/// Whoever mistypes a value reads what is right, in one line, and not a parser's inner life.
#[test]
fn a_wrong_value_is_answered_with_a_right_one() -> Result<()> {
    let broken = tempfile::NamedTempFile::new()?;
    std::fs::write(broken.path(), "a: [\n- b: }\n")?;
    let broken = broken.path().display().to_string();
    let dir = tempfile::tempdir()?;
    let dir = dir.path().display().to_string();
    for (line, code, right) in [
        ("edges --port x", 2, "8000-8999"),
        ("edges --last 0", 2, "1"),
        ("edges --since yesterday", 2, "10m"),
        ("edges --verdict green", 2, "plaintext"),
        ("edges --not colour=red", 2, "protocol"),
        ("edges --prometheus foo", 2, "http://prometheus:9090"),
        ("edges --to deploy/", 2, "deploy/web"),
        ("edges --context a --socket /run/x", 2, "leave out one"),
        (&format!("edges --socket {dir}"), 3, "not a socket"),
        (&format!("edges --socket {broken}"), 3, "not a socket"),
        (
            "edges --kubeconfig /nonexistent",
            1,
            "--kubeconfig /nonexistent: No such file",
        ),
        ("tap --max 0", 2, "a number from 1"),
        ("tap --for 0s", 2, "longer than 0s"),
        ("check --min-flows x", 2, "a number from 1"),
        ("record -w x --max-bytes 1MiB", 2, "a number from 1"),
        ("ui --listen x", 2, "0 to 65535"),
        ("daemon --window 0s", 2, "1s"),
        ("daemon --otlp-interval 0s", 2, "1s"),
        (&format!("daemon --exemptions {broken}"), 1, "line "),
        (&format!("inventory --policy {broken}"), 2, "line "),
        (&format!("classify {broken}"), 1, "not a capture file"),
        ("stat", 2, "`mtls edges`"),
    ] {
        let answer = mtls(line.split(' '))?;
        assert_eq!(answer.code, Some(code), "{line}: {answer:?}");
        assert!(answer.err.contains(right), "{line}: {answer:?}");
        for inner in [
            "invalid digit",
            "18446744073709551615",
            "\\u{a}",
            "os error 2): ",
            "[72,",
        ] {
            assert!(!answer.err.contains(inner), "{line}: {answer:?}");
        }
        assert!(answer.out.is_empty(), "{line}: {answer:?}");
    }
    // Without a kubeconfig, the options of a cluster say that there is none.
    let mut command = Command::new(bin::mtls()?);
    command.args(["edges", "-l", "app=web"]).env("HOME", &dir);
    let answer = run({
        command.env_remove("KUBECONFIG").env_remove("MTLS_SOCKET");
        command
    })?;
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("no kubeconfig"), "{answer:?}");
    Ok(())
}

#[test]
fn filters_that_nothing_matches_say_what_there_is() -> Result<()> {
    for (line, says) in [
        (
            "edges --protocol klingon",
            "klingon was not seen, but http/1.1, tls",
        ),
        ("edges -n nowhere", "namespace nowhere was not seen"),
        ("flows --port 1", "7 connections without"),
        ("inventory --port 1", "7 connections without"),
        ("check --port 1", "7 edges without"),
    ] {
        let answer = ask(line)?;
        assert!(answer.err.contains(says), "{line}: {answer:?}");
    }
    Ok(())
}
