//! Minimal HTTP for tests: requests to servers on this node, and a webhook receiver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);

/// `GET path`; returns the body of a successful response.
pub fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)
        .with_context(|| format!("connect to {addr}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // With version 1.0, the response ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{path}: {head}\n{body}");
    }
    Ok(body.to_owned())
}

/// Like [`get`], for JSON.
pub fn json(addr: SocketAddr, path: &str) -> Result<Value> {
    let body = get(addr, path, &[])?;
    serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
}

/// Asks until the answer satisfies `good`.
pub fn until<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let last = match ask() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        if Instant::now() > deadline {
            bail!("{what}: not in {patience:?}{last}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Text encoded for a query string.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().fold(String::new(), |out, byte| {
        if plain(byte) {
            out + &char::from(byte).to_string()
        } else {
            out + &format!("%{byte:02X}")
        }
    })
}

/// Listens on this node, and passes on the JSON that is posted to it.
pub fn receiver(addr: SocketAddr) -> Result<Receiver<Value>> {
    let listener = TcpListener::bind(addr).with_context(|| format!("listen on {addr}"))?;
    let (posted, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if let Ok(body) = read_post(stream)
                && posted.send(body).is_err()
            {
                break;
            }
        }
    });
    Ok(receiver)
}

fn read_post(mut stream: TcpStream) -> Result<Value> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(serde_json::from_slice(&body)?)
}
