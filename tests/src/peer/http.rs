//! The part of HTTP/1.1 that two of these peers and `openssl` need.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

/// Longest header accepted.
const MAX_HEAD: usize = 16 * 1024;

/// Reads up to the empty line; `None` if the other end closed before the first byte.
pub(super) fn head(stream: &mut impl Read) -> Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            bail!("a head of more than {MAX_HEAD} bytes");
        }
        match stream.read(&mut byte) {
            Ok(1..) => head.push(byte[0]),
            Ok(0) if head.is_empty() => return Ok(None),
            Ok(0) => bail!("closed in the middle of a head"),
            // A peer that leaves without close_notify sends no more requests either.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && head.is_empty() => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("read a head"),
        }
    }
    Ok(Some(
        String::from_utf8(head).context("a head that is no text")?,
    ))
}

/// Reads a response with its body; without a length, the body ends when the server closes.
pub(super) fn response(stream: &mut impl Read) -> Result<()> {
    let head = head(stream)?.context("closed instead of a response")?;
    let mut words = head.split(' ');
    if !words.next().is_some_and(|word| word.starts_with("HTTP/1.")) || words.next() != Some("200")
    {
        bail!("unexpected response: {head}");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length {
        let mut body = vec![0; length.parse()?];
        return stream.read_exact(&mut body).context("read a body");
    }
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            Ok(0) => return Ok(()),
            // Many servers close the connection without close_notify.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("read a body"),
        }
    }
}

/// Sends a response of `size` bytes.
pub(super) fn respond(stream: &mut impl Write, size: usize) -> Result<()> {
    let mut message = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
    message.resize(message.len() + size, b'.');
    stream.write_all(&message)?;
    Ok(stream.flush()?)
}
