//! The tap's lines as they come.

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use mtls_core::record::{Recorded, TapLine};

/// Longest line taken from the daemon, in bytes.
const MAX_LINE: usize = 1 << 20;

const NOT_UNDERSTOOD: &str =
    "the daemon's answer is not understood: is it of the same version as this program?";

/// A stream of lines.
pub(crate) struct Tap {
    response: Response<Incoming>,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    start: usize,
}

impl Tap {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self {
            response,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The next line of the tap. It is an error when there are no more: the daemon has stopped.
    /// Nothing is lost when this is called off.
    pub(crate) async fn next(&mut self) -> anyhow::Result<TapLine> {
        TapLine::read(self.line().await?).context(NOT_UNDERSTOOD)
    }

    /// The next line of a recording, likewise.
    pub(crate) async fn recorded(&mut self) -> anyhow::Result<Recorded> {
        serde_json::from_slice(self.line().await?).context(NOT_UNDERSTOOD)
    }

    async fn line(&mut self) -> anyhow::Result<&[u8]> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let begin = self.start;
                self.start += length + 1;
                return Ok(&self.buffer[begin..begin + length]);
            }
            self.buffer.drain(..std::mem::take(&mut self.start));
            if self.buffer.len() > MAX_LINE {
                bail!("the daemon sent a line longer than 1 MiB");
            }
            // A daemon that is killed breaks the answer off instead of ending it.
            let frame = self.response.frame().await.context("the daemon stopped")?;
            let frame = frame.context("the daemon stopped")?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}
