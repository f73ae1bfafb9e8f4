//! The client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ClientConfig;

use super::tls::Wire;
use super::{Connect, Mode, Report, http};

/// Timeout for the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// What [`Mode::Raw`] sends: bytes with which no protocol starts.
const NOISE: [u8; 64] = [0xb7; 64];

pub(super) fn run(args: &Connect) -> Result<()> {
    let config = match args.mode {
        Mode::Tls | Mode::Mtls => Some(args.tls.client(args.mode, args.resume)?),
        Mode::PlainHttp | Mode::Raw | Mode::Silent => None,
    };
    for _ in 0..args.connections {
        let report = talk(args, config.clone())?;
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

/// Makes one connection and all of its requests.
fn talk(args: &Connect, config: Option<Arc<ClientConfig>>) -> Result<Report> {
    let tcp = TcpStream::connect_timeout(&args.addr, PATIENCE)
        .with_context(|| format!("connect to {}", args.addr))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let (local, remote) = (tcp.local_addr()?, tcp.peer_addr()?);
    let mut wire = match config {
        Some(config) => Wire::client(tcp, config, &args.sni)?,
        None => Wire::Plain(tcp),
    };
    let mut responses = 0;
    if args.mode != Mode::Silent {
        for n in 0..args.requests {
            if n > 0 {
                std::thread::sleep(Duration::from_millis(args.interval));
            }
            exchange(args, &mut wire)?;
            responses += 1;
        }
    }
    std::thread::sleep(Duration::try_from_secs_f64(args.hold).context("--hold")?);
    wire.close();
    Ok(Report {
        local,
        remote,
        tls: wire.version(),
        resumed: wire.resumed(),
        client_certificate: None,
        responses,
    })
}

fn exchange(args: &Connect, wire: &mut Wire) -> Result<()> {
    if args.mode == Mode::Raw {
        wire.write_all(&NOISE)?;
        let mut echo = NOISE;
        return wire.read_exact(&mut echo).context("read the echo");
    }
    // In one write: a request is one segment, as with real clients.
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: {}\r\n\r\n",
        args.path, args.sni, args.user_agent
    );
    wire.write_all(request.as_bytes())?;
    wire.flush()?;
    http::response(wire)
}
