//! Every verb and every format: a program's output is what it asked for, the exit code is the
//! documented one, and a page documents it. A new verb without a row here or in a page fails.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mtls_tests::daemon::{Answer, Daemon, mtls};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::Value;

/// A verb, its arguments for the demo's capture with `-o json`, and the exit code.
const OF_A_CAPTURE: [(&str, &str, i32); 9] = [
    ("check", "check --from DEMO -o json", 1),
    ("check", "check --strict-ready --from DEMO -o json", 1),
    ("classify", "classify DEMO -o json", 0),
    ("diff", "diff DEMO DEMO -o json", 0),
    ("edges", "edges --from DEMO -o json", 0),
    (
        "explain",
        "explain 10.42.1.1 10.42.1.4 --from DEMO -o json",
        0,
    ),
    ("flows", "flows --from DEMO -o json", 0),
    (
        "inventory",
        "inventory --from DEMO --policy modern -o json",
        0,
    ),
    (
        "inventory",
        "inventory --from DEMO --certificates -o json",
        0,
    ),
];
/// The same for a daemon that has seen a plaintext connection.
const OF_A_DAEMON: [(&str, &str, i32); 9] = [
    ("check", "check -o json", 1),
    ("doctor", "doctor -o json", 0),
    ("edges", "edges -o json", 0),
    ("explain", "explain shop/web shop/db -o json", 0),
    ("flows", "flows -o json", 0),
    ("inventory", "inventory -o json", 0),
    ("status", "status -o json", 0),
    ("tap", "tap --for 1s -o json", 0),
    ("version", "version -o json", 0),
];
/// Verbs that write no JSON, and why.
const WITHOUT_JSON: [(&str, &str); 7] = [
    ("completion", "a shell reads it"),
    ("daemon", "it answers, and prints nothing"),
    ("help", "people read it"),
    ("record", "it writes a capture"),
    ("report", "it writes a directory"),
    ("top", "a screen"),
    ("ui", "a page"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn words(line: &str) -> Vec<String> {
    let demo = root().join("tests/data/demo.pcap").display().to_string();
    line.split(' ')
        .map(|word| word.replace("DEMO", &demo))
        .collect()
}

/// Every page that a user reads.
fn pages() -> Result<String> {
    let mut text = std::fs::read_to_string(root().join("README.md"))?;
    for entry in std::fs::read_dir(root().join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "md") {
            text.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(text)
}

/// The verbs in the help.
fn verbs() -> Result<Vec<String>> {
    let help = mtls(["--help"])?.out;
    let (_, rest) = help.split_once("Commands:\n").context("no commands")?;
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// One document, or one per line, and nothing else.
fn is_json(line: &str, answer: &Answer, code: i32) -> Result<()> {
    ensure!(answer.code == Some(code), "{line}: {answer:?}");
    let documents = serde_json::Deserializer::from_str(&answer.out).into_iter::<Value>();
    let documents: Vec<_> = documents
        .collect::<Result<_, _>>()
        .with_context(|| format!("{line}: {answer:?}"))?;
    let streams = line.starts_with("tap");
    ensure!(
        streams || documents.len() == 1,
        "{line}: {} documents",
        documents.len()
    );
    for document in documents {
        ensure!(document["schema"].is_u64(), "{line}: no schema: {document}");
    }
    Ok(())
}

#[test]
fn every_verb_has_a_row_here_and_a_line_in_the_pages() -> Result<()> {
    let pages = pages()?;
    for verb in verbs()? {
        let with = OF_A_CAPTURE.iter().chain(&OF_A_DAEMON);
        let is_there = with.map(|(name, ..)| *name).any(|name| name == verb)
            || WITHOUT_JSON.iter().any(|(name, _)| *name == verb);
        assert!(is_there, "`mtls {verb}` has no row in this test");
        assert!(
            verb == "help" || pages.contains(&format!("mtls {verb}")),
            "no page shows `mtls {verb}`"
        );
    }
    let schema = std::fs::read_to_string(root().join("docs/schema.md"))?;
    for (verb, ..) in OF_A_CAPTURE.iter().chain(&OF_A_DAEMON) {
        assert!(
            *verb == "version" || schema.contains(&format!("`mtls {verb} ")),
            "docs/schema.md does not say what `mtls {verb} -o json` is"
        );
    }
    Ok(())
}

#[test]
fn nothing_but_json_is_printed_of_a_capture() -> Result<()> {
    for (_, line, code) in OF_A_CAPTURE {
        is_json(line, &mtls(words(line))?, code)?;
    }
    Ok(())
}

#[test]
fn nothing_but_json_is_printed_by_a_daemon() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    daemon.await_counts("web", "db", &[("plaintext", 1)])?;
    for (_, line, code) in OF_A_DAEMON {
        let args: Vec<_> = line.split(' ').collect();
        is_json(line, &daemon.ask(&args)?, code)?;
    }
    Ok(())
}

#[test]
fn without_a_daemon_every_verb_that_asks_one_exits_with_3() -> Result<()> {
    for (verb, line, _) in OF_A_DAEMON {
        // These two work without a daemon.
        if matches!(verb, "doctor" | "version") {
            continue;
        }
        let mut args = words(line);
        args.extend(["--socket".into(), "/nonexistent/mtls.sock".into()]);
        let answer = mtls(args)?;
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (Some(3), ""),
            "{line}: {answer:?}"
        );
    }
    let record = [
        "record",
        "-w",
        "/dev/null",
        "--socket",
        "/nonexistent/mtls.sock",
    ];
    assert_eq!(mtls(record)?.code, Some(3));
    Ok(())
}

/// Invalid usage, verb by verb, besides what no verb accepts.
const WRONG: [&str; 41] = [
    "check --for 1s --from DEMO",
    "check -o xml --from DEMO",
    "check --rules /nonexistent --from DEMO",
    "check --allow /nonexistent --from DEMO",
    "check --min-tls 7 --from DEMO",
    "check --strict-ready --require tls --from DEMO",
    "classify",
    "classify DEMO -o linkerd",
    "classify DEMO --from DEMO",
    "classify DEMO --sort-by .nosuch",
    "completion nosuchshell",
    "daemon --window soon",
    "diff DEMO",
    "diff - -",
    "diff DEMO DEMO -o wide",
    "diff DEMO DEMO --from DEMO",
    "doctor -o csv",
    "edges --from DEMO --from DEMO",
    "edges --from DEMO --watch",
    "edges --from DEMO --sort-by .nosuch",
    "edges --from DEMO --sort-by items[",
    "edges --from DEMO -o cyclonedx",
    "edges --from DEMO -o logfmt",
    "edges --from DEMO -o custom-columns=A",
    "edges --from DEMO -o jsonpath={",
    "edges --from DEMO --baseline DEMO -o linkerd",
    "edges --from DEMO --verdict green",
    "edges --from DEMO -l app=web",
    "explain 10.42.1.1 a//b --from DEMO",
    "explain a b c --from DEMO",
    "explain 10.42.1.1 10.42.1.4 --from DEMO -o name",
    "flows --from DEMO -o linkerd",
    "inventory --from DEMO -o linkerd",
    "inventory --from DEMO --certificates -o cyclonedx",
    "inventory --from DEMO --policy /nonexistent",
    "record --from DEMO -w DEMO",
    "report DIR --from DEMO",
    "status -o wide",
    "tap --from DEMO",
    "tap --sort-by .verdict",
    "ui --listen 70000",
];

#[test]
fn wrong_usage_of_every_verb_exits_with_2() -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("mine"), "")?;
    let taken = dir.path().display().to_string();
    let mut lines: Vec<_> = WRONG
        .iter()
        .map(|line| line.replace("DIR", &taken))
        .collect();
    for verb in verbs()?.into_iter().filter(|verb| verb != "help") {
        lines.push(format!("{verb} --no-such-flag"));
        lines.push(format!("{verb} -o"));
    }
    for line in lines {
        let answer = mtls(words(&line))?;
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (Some(2), ""),
            "{line}: {answer:?}"
        );
        assert!(answer.err.len() > 20, "{line}: {answer:?}");
    }
    Ok(())
}

/// Without data or with an error, a program that asked for JSON reads JSON or nothing.
#[test]
fn nothing_but_json_is_printed_where_nothing_is_found_or_something_is_wrong() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let empty = dir.path().join("empty.pcap");
    // A header, and no packet: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html
    let mut header = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    header.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    std::fs::write(&empty, header)?;
    let cut = dir.path().join("cut.pcap");
    let demo = std::fs::read(root().join("tests/data/demo.pcap"))?;
    std::fs::write(&cut, &demo[..demo.len() - 7])?;
    for file in [&empty, &cut, &dir.path().join("missing.pcap")] {
        for (_, line, _) in OF_A_CAPTURE {
            let line = line.replace("DEMO", &file.display().to_string());
            let answer = mtls(line.split(' '))?;
            assert!(
                answer.code.is_some_and(|code| code <= 4),
                "{line}: {answer:?}"
            );
            if !answer.out.is_empty() {
                serde_json::from_str::<Value>(&answer.out)
                    .with_context(|| format!("{line}: {answer:?}"))?;
            }
            let is_made = answer.code == Some(0) || line.starts_with("check") && file == &empty;
            assert_eq!(
                !answer.out.is_empty(),
                is_made || line.starts_with("classify"),
                "{line}: {answer:?}"
            );
            assert!(!answer.out.contains("1970"), "{line}: {answer:?}");
        }
    }
    for (verb, line, _) in OF_A_DAEMON {
        if !matches!(verb, "doctor" | "version") {
            let answer = mtls(words(&format!("{line} --socket /nonexistent")))?;
            assert_eq!(
                (answer.code, answer.out.as_str()),
                (Some(3), ""),
                "{line}: {answer:?}"
            );
        }
    }
    Ok(())
}

/// How a format is requested, and a check of its output.
fn is_of(format: &str, out: &str) -> Result<bool> {
    let edges = 7;
    let lines = out.lines().count();
    Ok(match format {
        "table" => out.starts_with("NAMESPACE") && out.contains("✗ plaintext"),
        "wide" => out.starts_with("NAMESPACE") && out.contains("OPEN"),
        "json" => serde_json::from_str::<Value>(out)?["items"]
            .as_array()
            .is_some_and(|all| all.len() == edges),
        "jsonl" => {
            out.lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok())
                && lines == edges
        }
        "yaml" => out.starts_with("generated: ") && out.contains("\nitems:\n- "),
        "csv" => lines == edges + 1 && out.lines().all(|line| line.contains(',')),
        "name" => lines == edges && out.contains("10.42.1.4:8443"),
        "linkerd" => out.starts_with("SRC"),
        "logfmt" => out.lines().all(|line| line.contains("verdict=")) && lines == edges,
        "cyclonedx" => serde_json::from_str::<Value>(out)?["bomFormat"] == "CycloneDX",
        "custom-columns" => lines == edges + 1 && out.starts_with("VERDICT"),
        "jsonpath" => out.contains("plaintext"),
        other => panic!("the format {other} has no row in this test"),
    })
}

/// The formats that a verb lists when an unsupported one is requested.
fn formats(verb: &str) -> Result<Vec<String>> {
    let list = mtls([verb, "-o", "xml"])?.err;
    let (_, list) = list.split_once("write ").context("no list of formats")?;
    let line = list.lines().next().unwrap_or_default();
    let list = line.replace(" or ", ", ").replace("NAME:PATH,…", "");
    let formats = list
        .split(", ")
        .map(|word| word.split('=').next().unwrap_or(word).trim().to_owned());
    Ok(formats.filter(|word| !word.is_empty()).collect())
}

#[test]
fn every_format_is_tried_and_a_page_shows_it() -> Result<()> {
    let pages = pages()?;
    let mut tried = std::collections::BTreeSet::new();
    for verb in ["edges", "flows", "inventory", "classify"] {
        let formats = formats(verb)?;
        assert!(formats.len() >= 10, "{verb}: {formats:?}");
        for format in formats {
            let argument = match &*format {
                "custom-columns" => "custom-columns=VERDICT:.verdict",
                "jsonpath" => "jsonpath={.items[*]}",
                format => format,
            };
            let mut args = words(&format!("{verb} --from DEMO -o"));
            if verb == "classify" {
                args = words("classify DEMO -o");
            }
            args.push(argument.into());
            let answer = mtls(args)?;
            assert_eq!(answer.code, Some(0), "{verb} {format}: {answer:?}");
            let of_its_own = matches!(&*format, "logfmt" | "cyclonedx");
            if verb == "edges" || of_its_own {
                assert!(is_of(&format, &answer.out)?, "{format}: {}", answer.out);
            }
            assert!(!answer.out.is_empty(), "{verb} {format}");
            // The first is the default.
            assert!(
                format == "table" || pages.contains(&format!("-o {format}")),
                "no page shows `-o {format}`"
            );
            tried.insert(format);
        }
    }
    assert!(tried.len() >= 12, "{tried:?}");
    Ok(())
}

/// An unsupported format is an error, and not another format.
#[test]
fn a_format_that_an_answer_does_not_have_is_an_error() -> Result<()> {
    for line in [
        "edges --from DEMO -o logfmt",
        "edges --from DEMO -o cyclonedx",
        "explain 10.42.1.1 10.42.1.4 --from DEMO -o csv",
        "doctor -o linkerd",
    ] {
        let answer = mtls(words(line))?;
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (Some(2), ""),
            "{line}: {answer:?}"
        );
        assert!(answer.err.contains("write table, "), "{line}: {answer:?}");
    }
    Ok(())
}
