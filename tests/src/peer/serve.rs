//! The server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;

use super::tls::Wire;
use super::{Mode, Report, Serve, http};

/// Longest silence of a client.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) fn run(args: &Serve) -> Result<()> {
    let config = match args.mode {
        Mode::Tls | Mode::Mtls => Some(args.tls.server(args.mode)?),
        Mode::PlainHttp | Mode::Raw | Mode::Silent => None,
    };
    let listener =
        TcpListener::bind(args.addr).with_context(|| format!("listen on {}", args.addr))?;
    println!("ready {}", listener.local_addr()?);
    std::thread::scope(|scope| {
        for tcp in listener.incoming() {
            let config = config.clone();
            scope.spawn(move || {
                match tcp
                    .map_err(Into::into)
                    .and_then(|tcp| answer(tcp, args, config))
                {
                    Ok(report) => match serde_json::to_string(&report) {
                        Ok(line) => println!("{line}"),
                        Err(error) => eprintln!("cannot write a report: {error}"),
                    },
                    Err(error) => eprintln!("{error:#}"),
                }
            });
        }
    });
    Ok(())
}

/// Serves one connection to its end.
fn answer(tcp: TcpStream, args: &Serve, config: Option<Arc<ServerConfig>>) -> Result<Report> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let (local, remote) = (tcp.local_addr()?, tcp.peer_addr()?);
    let mut wire = match config {
        Some(config) => Wire::server(tcp, config)?,
        None => Wire::Plain(tcp),
    };
    let mut responses = 0;
    match args.mode {
        Mode::Raw => {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = wire.read(&mut buffer) {
                wire.write_all(&buffer[..n])?;
                responses += 1;
            }
        }
        _ => {
            while http::head(&mut wire)?.is_some() {
                http::respond(&mut wire, args.body)?;
                responses += 1;
            }
        }
    }
    wire.close();
    Ok(Report {
        local,
        remote,
        tls: wire.version(),
        resumed: wire.resumed(),
        client_certificate: wire
            .negotiated()
            .map(|tls| tls.peer_certificates().is_some()),
        responses,
    })
}
