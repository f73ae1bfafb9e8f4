//! A client on rustls, with what changes its flight.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::setup::Setup;

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let mut config = setup.client()?;
    if setup.has("fragment") {
        config.max_fragment_size = Some(256);
    }
    if setup.has("tiny-fragment") {
        config.max_fragment_size = Some(64);
    }
    if setup.has("no-compression") {
        config.cert_compressors.clear();
    }
    config.enable_early_data = setup.has("early");
    let config = Arc::new(config);
    for _ in 0..setup.turns() {
        let tcp = TcpStream::connect(setup.to)?;
        tcp.set_read_timeout(Some(Duration::from_secs(8)))?;
        let name = ServerName::try_from(setup.name.clone())?;
        let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name)?, tcp);
        let mut asked = false;
        if let Some(mut early) = stream.conn.early_data() {
            early.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            asked = true;
        }
        stream.conn.complete_io(&mut stream.sock).context("handshake: alert or refusal")?;
        if setup.has("key-update") {
            stream.conn.refresh_traffic_keys()?;
        }
        if !asked || !stream.conn.is_early_data_accepted() {
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        }
        let mut page = Vec::new();
        match stream.read_to_end(&mut page) {
            // OpenSSL's server closes without close_notify.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                return Err(error).context("read: alert or refusal");
            }
            _ => {}
        }
        std::io::stdout().write_all(&page)?;
        stream.conn.send_close_notify();
        let _ = stream.conn.complete_io(&mut stream.sock);
    }
    Ok(())
}
