//! The page of `mtls ui` in a real browser, and its access control.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::browser::{Browser, Look};
use mtls_tests::daemon::Daemon;
use mtls_tests::process::Process;
use mtls_tests::scene::Scene;
use mtls_tests::skip::{Need, runs_here};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running `mtls ui`, and its address.
fn ui(args: &[&str]) -> Result<(Process, String)> {
    let mut command = Command::new(bin::mtls()?);
    command.args(["ui", "--no-open"]).args(args);
    let process = Process::start(command)?;
    let address = |line: &str| line.starts_with("http://").then(|| line.trim().to_owned());
    let address = process.out.find(PATIENCE, address);
    let address = address.with_context(|| format!("no address: {}", process.told()))?;
    Ok((process, address))
}

fn demo() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join("tests/data/demo.pcap").display().to_string()
}

/// The status and the header of the response to a raw request.
fn ask(address: &str, request: &str) -> Result<(u16, String)> {
    let place = address.strip_prefix("http://").context("an address")?;
    let place = place.split('/').next().unwrap_or_default();
    let mut stream = TcpStream::connect(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, answer))
}

#[test]
fn only_who_has_the_address_is_answered() -> Result<()> {
    let (_process, address) = ui(&["--from", &demo()])?;
    let (host, path) = address
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .context("an address with a path")?;
    let port = host.rsplit(':').next().context("a port")?;
    assert!(path.trim_end_matches('/').len() >= 32, "a token: {path}");
    let request = |method: &str, path: &str, head: &str| {
        format!("{method} /{path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n")
    };
    let own = format!("Host: {host}\r\n");
    let wrong_token = path.replace(|c: char| c.is_ascii_digit(), "f");
    for (what, status, text) in [
        ("the page", 200, request("GET", path, &own)),
        (
            "the page by its other name",
            200,
            request("GET", path, &format!("Host: localhost:{port}\r\n")),
        ),
        (
            "the table",
            200,
            request("GET", &format!("{path}api/edges"), &own),
        ),
        ("its head", 200, request("HEAD", path, &own)),
        ("no token", 403, request("GET", "", &own)),
        (
            "no token before an answer",
            403,
            request("GET", "api/edges", &own),
        ),
        ("another token", 403, request("GET", &wrong_token, &own)),
        (
            "a part of the token",
            403,
            request("GET", &path[..20], &own),
        ),
        (
            "another name for this machine",
            421,
            request("GET", path, "Host: evil.example\r\n"),
        ),
        (
            "that name at this port",
            421,
            request("GET", path, &format!("Host: evil.example:{port}\r\n")),
        ),
        (
            "another port",
            421,
            request("GET", path, "Host: 127.0.0.1:1\r\n"),
        ),
        (
            "two names",
            400,
            request("GET", path, &format!("{own}Host: evil.example\r\n")),
        ),
        (
            "another page",
            421,
            request(
                "GET",
                path,
                &format!("{own}Origin: http://evil.example\r\n"),
            ),
        ),
        (
            "a link elsewhere",
            421,
            request("GET", path, &format!("{own}Sec-Fetch-Site: cross-site\r\n")),
        ),
        (
            "another port of this machine",
            421,
            request("GET", path, &format!("{own}Sec-Fetch-Site: same-site\r\n")),
        ),
        (
            "to write",
            405,
            request("POST", &format!("{path}api/edges"), &own),
        ),
        ("to delete", 405, request("DELETE", path, &own)),
        (
            "what is not there",
            404,
            request("GET", &format!("{path}etc/passwd"), &own),
        ),
        (
            "a way up",
            404,
            request("GET", &format!("{path}../../etc/passwd"), &own),
        ),
        (
            "an unknown filter",
            400,
            request("GET", &format!("{path}api/edges?file=x"), &own),
        ),
        (
            "a wrong value",
            400,
            request("GET", &format!("{path}api/edges?verdict=green"), &own),
        ),
        (
            "an edge that is not there",
            404,
            request("GET", &format!("{path}api/explain?edge=x"), &own),
        ),
    ] {
        let (got, answer) = ask(&address, &text)?;
        assert_eq!(got, status, "{what}: {answer}");
        let head = answer.to_lowercase();
        for header in [
            "default-src 'none'",
            "script-src 'self'",
            "nosniff",
            "no-store",
            "no-referrer",
        ] {
            assert!(head.contains(header), "{what} without {header}: {answer}");
        }
        assert!(!head.contains("access-control-allow"), "{what}: {answer}");
    }
    let (_, answer) = ask(
        &address,
        &request("GET", &format!("{path}api/edges?verdict=green"), &own),
    )?;
    assert!(
        answer.contains("write one of plaintext, "),
        "a wrong value lists the right ones: {answer}"
    );
    // It cannot be reached from elsewhere.
    assert!(host.starts_with("127.0.0.1:"), "{host}");
    let token = |address: &str| address.rsplit('/').nth(1).unwrap_or_default().to_owned();
    let (_other, other) = ui(&["--from", &demo()])?;
    assert_ne!(token(&other), token(&address), "a token is for one run");
    Ok(())
}

/// Who does not write a request is not waited for, and keeps nobody else waiting.
#[test]
fn a_slow_request_is_ended() -> Result<()> {
    let (_process, address) = ui(&["--from", &demo()])?;
    let place = address.strip_prefix("http://").context("an address")?;
    let place = place.split('/').next().unwrap_or_default();
    let mut slow = Vec::new();
    for begun in ["", "GET / HTTP/1.1\r\nHost: "] {
        let mut stream = TcpStream::connect(place)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(begun.as_bytes())?;
        slow.push(stream);
    }
    let path = address.rsplit_once(place).map(|(_, path)| path);
    let path = path.context("a path")?;
    let own = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    assert_eq!(ask(&address, &own)?.0, 200);
    let long = "x".repeat(1 << 20);
    let long = own.replacen("Connection", &format!("X: {long}\r\nConnection"), 1);
    // It is refused, or the connection ends while it is written.
    assert!(ask(&address, &long).map_or(true, |(status, _)| status == 431));
    for mut stream in slow {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("it is not ended")?;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    Ok(())
}

#[test]
fn a_file_is_looked_around_in() -> Result<()> {
    if !runs_here(&[Need::Programs(&["chromium"])]) {
        return Ok(());
    }
    let (_process, address) = ui(&["--from", &demo()])?;
    let mut browser = Browser::start()?;
    browser.open(&address)?;
    let rows = "document.querySelectorAll('#edges tbody tr').length";
    browser.wait(&format!("{rows} == 7"))?;
    browser.wait("document.querySelectorAll('#graph .line').length > 4")?;
    // As one types.
    browser.click("input[name=q]")?;
    browser.write("10.42.1.4 !plaintext")?;
    browser.wait(&format!("{rows} == 1"))?;
    browser.wait("document.querySelectorAll('#graph .line').length == 1")?;
    browser.click("button[type=reset]")?;
    browser.wait(&format!("{rows} == 7"))?;
    // An invalid value lists the valid ones, and the table stays.
    browser.click("input[name=port]")?;
    browser.write("many")?;
    browser.wait("document.querySelector('#wrong').innerText.includes('is not a port')")?;
    assert_eq!(browser.evaluate(rows)?, 7);
    browser.click("button[type=reset]")?;
    browser.wait("document.querySelector('#wrong').hidden")?;
    browser.evaluate(
        "(() => { const it = document.querySelector('select[name=verdict]'); it.value = 'clear'; \
         it.dispatchEvent(new Event('input', {bubbles: true})); })()",
    )?;
    browser.wait(&format!("{rows} == 2"))?;
    // An explanation by a click, and by the keyboard's button.
    browser.click("#edges tbody tr button")?;
    browser.wait("document.querySelector('#steps').innerText.includes('reason: unencrypted')")?;
    browser.screenshot("ui-explanation-Light")?;
    browser.click("#close")?;
    browser.wait("document.querySelector('#explanation').hidden")?;
    browser.click("button[type=reset]")?;
    browser.wait(&format!("{rows} == 7"))?;
    // A box of the graph sets a filter.
    browser.click("#graph .box rect")?;
    browser.wait("document.querySelector('input[name=to]').value != ''")?;
    browser.click("button[type=reset]")?;
    browser.wait(&format!("{rows} == 7"))?;
    // A file has no live events, and the page says so.
    browser.click("#tapping")?;
    browser.wait("document.querySelector('#tap-state').innerText.includes('is a file')")?;
    browser.wait("document.querySelectorAll('#facts tr').length > 2")?;
    for look in [Look::Light, Look::Dark] {
        browser.look(look)?;
        assert_eq!(browser.obstacles()?, Vec::<String>::new(), "{look:?}");
        browser.screenshot(&format!("ui-file-{look:?}"))?;
    }
    // The only complaint is about the invalid value, which was rejected with 400.
    let complaints = browser.complaints()?;
    let other: Vec<_> = complaints
        .iter()
        .filter(|one| !one.contains("status of 400"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
    let elsewhere: Vec<_> = browser.requests();
    let elsewhere: Vec<_> = elsewhere
        .iter()
        .filter(|url| !url.starts_with(&address) && !url.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    Ok(())
}

#[test]
fn what_happens_on_the_node_comes_by_itself() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl, Need::Programs(&["chromium"])]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let socket = daemon.socket().to_str().context("text")?.to_owned();
    let (process, address) = ui(&["--socket", &socket])?;
    let mut browser = Browser::start()?;
    browser.open(&address)?;
    browser.wait("document.querySelector('#summary').innerText.includes('0 edges')")?;
    browser.click("#tapping")?;
    browser.wait("document.querySelector('#tap-state').innerText.includes('waiting')")?;
    let server = SocketAddr::new(scene.db.v4(), 8443);
    let serving = scene.serve(&scene.db, server, &["--mode", "mtls"])?;
    scene.connect(&scene.web, server, &["--mode", "mtls"])?;
    browser.wait("document.querySelectorAll('#edges tbody tr').length == 1")?;
    browser.wait("document.querySelectorAll('#tap li').length >= 1")?;
    browser.wait("document.querySelector('#edges tbody').innerText.includes('mTLS')")?;
    browser.wait("document.querySelectorAll('#graph .line.mutual').length == 1")?;
    let tapped = browser.evaluate("document.querySelector('#tap').innerText")?;
    assert!(
        tapped
            .as_str()
            .is_some_and(|text| text.contains("shop/web")),
        "{tapped}"
    );
    browser.click("#edges tbody tr button")?;
    browser.wait("document.querySelector('#steps').innerText.includes('evidence')")?;
    browser.screenshot("ui-node-Light")?;
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    assert_eq!(browser.obstacles()?, Vec::<String>::new());
    drop(serving);
    // When the daemon ends, the page says so.
    drop(daemon);
    browser.wait("!document.querySelector('#trouble').hidden")?;
    browser.wait("document.querySelector('#tap-state').innerText.includes('stopped')")?;
    drop(process);
    browser.wait("document.querySelector('#trouble').innerText.includes('does not answer')")?;
    Ok(())
}
