//! The auditor's report: complete, signed, and read in a real browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use mtls_core::record::{
    EdgeList, FlowList, FlowRecord, HttpInfo, Kind, Peer, SCHEMA, Time, TlsInfo, Verdict, Workload,
};
use mtls_tests::browser::{Browser, Look};
use mtls_tests::daemon::{Answer, mtls};
use mtls_tests::skip::{Need, runs_here};
use serde_json::Value;

/// Written into every text that comes from the wire or from names.
const EVIL: &str =
    "<script>window.hit=1</script><img src=x onerror=window.hit=1>\"'`&{{7*7}}\u{202e}\u{1b}[2J";

fn demo() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join("tests/data/demo.pcap").display().to_string()
}

fn report(dir: &Path, more: &[&str]) -> Result<Answer> {
    let dir = dir.to_str().context("a path that is text")?;
    mtls([&["report", dir][..], more].concat())
}

fn run(program: &str, dir: &Path, args: &[&str]) -> Result<bool> {
    let mut command = Command::new(program);
    let command = command.args(args).current_dir(dir).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("run {program}"))?;
    Ok(output.status.success())
}

/// A new minisign key pair, optionally with a password.
fn key(dir: &Path, password: Option<&str>) -> Result<(PathBuf, PathBuf)> {
    let (secret, public) = (dir.join("key"), dir.join("key.pub"));
    let mut command = Command::new("minisign");
    command.arg("-G").args(password.is_none().then_some("-W"));
    command.arg("-s").arg(&secret).arg("-p").arg(&public);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let (Some(mut stdin), Some(password)) = (child.stdin.take(), password) {
        use std::io::Write as _;
        write!(stdin, "{password}\n{password}\n")?;
    }
    ensure!(child.wait()?.success(), "minisign made no key");
    Ok((secret, public))
}

#[test]
fn a_report_is_whole_and_its_signature_is_that_of_its_key() -> Result<()> {
    if !runs_here(&[Need::Programs(&["minisign", "sha256sum"])]) {
        return Ok(());
    }
    for password in [None, Some("opens it")] {
        let dir = tempfile::tempdir()?;
        let (secret, public) = key(dir.path(), password)?;
        let out = dir.path().join("report");
        let secret = secret.to_str().context("text")?;
        let public = public.to_str().context("text")?;
        let capture = demo();
        let mut args = vec!["--from", &capture, "--sign", secret];
        let file = dir.path().join("password");
        std::fs::write(&file, password.unwrap_or_default())?;
        if password.is_some() {
            args.extend(["--password-file", file.to_str().context("text")?]);
        }
        let answer = report(&out, &args)?;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let verify = ["-V", "-q", "-m", "SHA256SUMS", "-p", public];
        assert!(run("minisign", &out, &verify)?, "the signature is right");
        assert!(run(
            "sha256sum",
            &out,
            &["--check", "--strict", "SHA256SUMS"]
        )?);
        let sums = std::fs::read_to_string(out.join("SHA256SUMS"))?;
        for entry in std::fs::read_dir(&out)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            let is_sum = name.starts_with("SHA256SUMS");
            assert!(
                is_sum || sums.contains(&format!("  {name}\n")),
                "{name} has no sum"
            );
        }
        for name in [
            "report.html",
            "edges.json",
            "edges.csv",
            "findings.json",
            "flows.csv",
            "graph.svg",
        ] {
            assert!(sums.contains(&format!("  {name}\n")), "no {name}:\n{sums}");
        }
        // A changed file and a changed manifest are both detected.
        std::fs::write(out.join("edges.csv"), "nothing to see\n")?;
        assert!(!run(
            "sha256sum",
            &out,
            &["--check", "--strict", "SHA256SUMS"]
        )?);
        std::fs::write(out.join("SHA256SUMS"), sums.replace('a', "b"))?;
        assert!(!run("minisign", &out, &verify)?);
        // Existing files are never overwritten.
        let again = report(&out, &args)?;
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(again.err.contains("is not empty"), "{again:?}");
        std::fs::write(&file, "wrong")?;
        if password.is_some() {
            let wrong = report(&dir.path().join("other"), &args)?;
            assert_eq!(wrong.code, Some(1), "{wrong:?}");
            assert!(wrong.err.contains("password is wrong"), "{wrong:?}");
            assert!(!dir.path().join("other").exists(), "nothing is left behind");
        }
    }
    Ok(())
}

#[test]
fn the_data_of_a_report_is_what_the_other_verbs_say() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("report");
    let answer = report(&out, &["--from", &demo(), "--not", "--verdict", "mtls"])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let saved = out.join("edges.json");
    let saved = saved.to_str().context("text")?;
    let again = mtls(["edges", "-o", "jsonl", "--from", saved])?;
    let direct = mtls([
        "edges",
        "-o",
        "jsonl",
        "--from",
        &demo(),
        "--not",
        "--verdict",
        "mtls",
    ])?;
    assert_eq!(again.out, direct.out);
    assert!(again.out.lines().count() >= 2, "{again:?}");
    let findings: Value = serde_json::from_slice(&std::fs::read(out.join("findings.json"))?)?;
    let findings = findings["items"].as_array().context("findings")?;
    assert_eq!(findings.len(), again.out.lines().count());
    for finding in findings {
        assert!(
            finding["flow"].is_object(),
            "the evidence is a connection's: {finding}"
        );
    }
    let csv = std::fs::read_to_string(out.join("edges.csv"))?;
    assert_eq!(csv.lines().count(), findings.len() + 1, "{csv}");
    let page = std::fs::read_to_string(out.join("report.html"))?;
    for part in [
        "--not --verdict mtls",
        "TLS handshakes",
        "Never seen",
        "finding 1",
    ] {
        assert!(page.contains(part), "the page does not say {part}");
    }
    // What an option leaves out must not lead to an all-clear for the rest.
    assert!(page.contains("are not, or are not known to be, mutual TLS"));
    let nothing = dir.path().join("nothing");
    let answer = report(&nothing, &["--from", &demo(), "--to", "203.0.113.7"])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let page = std::fs::read_to_string(nothing.join("report.html"))?;
    assert!(
        page.contains("nothing is known of whether"),
        "an empty report praises nothing"
    );
    let wrong = report(
        &dir.path().join("x"),
        &["--sign", "/nonexistent/key", "--from", &demo()],
    )?;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    Ok(())
}

/// A saved answer with hostile text in every string.
fn hostile() -> FlowList {
    let peer = |ip: &str, port: u16| Peer {
        ip: ip.parse().ok(),
        port: Some(port),
        workload: Some(Workload {
            name: EVIL.into(),
            namespace: EVIL.into(),
            kind: Kind::Deployment.into(),
            pod: Some(EVIL.into()),
            service_account: Some(EVIL.into()),
            stale: None,
        }),
    };
    let flow = |at: u16, verdict: Verdict| FlowRecord {
        id: Some(EVIL.into()),
        src: peer("10.0.0.1", 40_000 + at),
        dst: peer("10.0.0.2", 8_000 + at),
        verdict: verdict.into(),
        reason: EVIL.into(),
        protocol: EVIL.into(),
        tls: Some(Box::new(TlsInfo {
            version: Some(EVIL.into()),
            sni: Some(EVIL.into()),
            cipher: Some(EVIL.into()),
            group: Some(EVIL.into()),
            client_identity: Some(EVIL.into()),
            server_identity: Some(EVIL.into()),
            alert: Some(EVIL.into()),
            mesh: Some(EVIL.into()),
            ..TlsInfo::default()
        })),
        http: Some(HttpInfo {
            method: Some(EVIL.into()),
            authority: Some(EVIL.into()),
            path: Some(EVIL.into()),
            ..HttpInfo::default()
        }),
        notes: vec![EVIL.into()],
        first_seen: Time::from_nanos(1_795_843_500_000_000_000),
        last_seen: Time::from_nanos(1_795_843_508_000_000_000),
        ..FlowRecord::default()
    };
    FlowList {
        schema: SCHEMA,
        node: Some(EVIL.into()),
        generated: Time::from_nanos(1_795_843_509_000_000_000),
        window_seconds: 0,
        nodes: None,
        watched: None,
        history: None,
        items: vec![
            flow(1, Verdict::Plaintext),
            flow(2, Verdict::Tls),
            flow(3, Verdict::Mtls),
        ],
    }
}

#[test]
fn a_browser_shows_the_report_and_obeys_nothing_in_it() -> Result<()> {
    if !runs_here(&[Need::Programs(&["chromium"])]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let saved = dir.path().join("flows.json");
    std::fs::write(&saved, serde_json::to_vec(&hostile())?)?;
    let saved = saved.to_str().context("text")?.to_owned();
    let mut browser = Browser::start()?;
    for (name, from) in [("demo", demo()), ("hostile", saved)] {
        let out = dir.path().join(name);
        let answer = report(&out, &["--from", &from])?;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        for look in [Look::Light, Look::Dark, Look::Print] {
            browser.look(look)?;
            browser.open_file(&out.join("report.html"))?;
            let what = format!("{name}, {look:?}");
            assert_eq!(browser.complaints()?, Vec::<String>::new(), "{what}");
            assert_eq!(browser.obstacles()?, Vec::<String>::new(), "{what}");
            assert_eq!(
                browser.requests().len(),
                1,
                "{what}: {:?}",
                browser.requests()
            );
            browser.screenshot(&format!("report-{name}-{look:?}"))?;
        }
        let pdf = browser.pdf(&format!("report-{name}"))?;
        assert!(pdf.starts_with(b"%PDF"), "no PDF");
        let count = |browser: &mut Browser, selector: &str| {
            browser.evaluate(&format!("document.querySelectorAll('{selector}').length"))
        };
        assert_eq!(
            count(&mut browser, "script, img, iframe, object, link")?,
            0,
            "{name}"
        );
        assert!(
            count(&mut browser, "svg .line")?.as_u64() > Some(0),
            "{name}"
        );
        assert!(
            count(&mut browser, "article")?.as_u64() >= Some(2),
            "{name}"
        );
        // In the graph by itself, too.
        browser.open_file(&out.join("graph.svg"))?;
        assert_eq!(browser.complaints()?, Vec::<String>::new());
        assert_eq!(
            browser.evaluate("typeof window.hit")?,
            "undefined",
            "{name}"
        );
    }
    browser.open_file(&dir.path().join("hostile/report.html"))?;
    assert_eq!(browser.evaluate("typeof window.hit")?, "undefined");
    let text = browser.evaluate("document.body.innerText")?;
    let text = text.as_str().context("text")?;
    assert!(
        text.contains("<script>window.hit=1</script>"),
        "it is shown as it is"
    );
    assert!(text.contains("{{7*7}}"));
    assert!(
        !text.contains(['\u{202e}', '\u{1b}']),
        "nothing hidden is there"
    );
    // And the accompanying data is complete.
    let edges: EdgeList =
        serde_json::from_slice(&std::fs::read(dir.path().join("hostile/edges.json"))?)?;
    assert_eq!(edges.items.len(), 3);
    Ok(())
}
