//! Traffic over UDP from one pod to another: requests with their responses, and bytes over QUIC.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::runtime::Runtime;

use super::load::{Done, PATIENCE, REQUEST, RESPONSE};
use crate::pki::dns_name;

/// Answers requests; ends with this process.
pub(super) fn respond(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut request = [0; 2 * REQUEST.len()];
        // The client notices a missing response, and reports it.
        while let Ok((_, client)) = socket.recv_from(&mut request) {
            let _ = socket.send_to(RESPONSE, client);
        }
    });
}

/// Sends requests, one after the other.
pub(super) fn requests(socket: &UdpSocket, server: SocketAddr, time: Duration) -> Result<Done> {
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut response = [0; RESPONSE.len()];
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < time {
        socket.send(REQUEST)?;
        socket.recv(&mut response).context("read a response")?;
        count += 1;
    }
    Ok(Done {
        rate: count as f64 / start.elapsed().as_secs_f64(),
        connections: 1,
        latencies: Vec::new(),
    })
}

/// Its own thread only.
fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}

/// Reads the first stream of every connection to its end, and returns how much that was; ends with
/// this process.
pub(super) fn sink(socket: UdpSocket, tls: Arc<rustls::ServerConfig>) -> Result<()> {
    let crypto = QuicServerConfig::try_from(tls).context("TLS for QUIC")?;
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let runtime = runtime()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (own, tokio) = (EndpointConfig::default(), Arc::new(TokioRuntime));
            let endpoint = Endpoint::new(own, Some(config), socket, tokio)?;
            while let Some(incoming) = endpoint.accept().await {
                // The client has the same error, and reports it.
                let _ = swallow(incoming).await;
            }
            anyhow::Ok(())
        })
    });
    Ok(())
}

async fn swallow(incoming: quinn::Incoming) -> Result<()> {
    let connection = incoming.await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    let mut total = 0_u64;
    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
        total += chunk.bytes.len() as u64;
    }
    send.write_all(&total.to_be_bytes()).await?;
    send.finish()?;
    connection.closed().await;
    Ok(())
}

/// Sends bytes over one connection.
pub(super) fn bulk(
    socket: UdpSocket,
    server: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    time: Duration,
) -> Result<Done> {
    let crypto = QuicClientConfig::try_from(tls).context("TLS for QUIC")?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let block = vec![b'x'; 1 << 17];
    runtime()?.block_on(async {
        let (own, tokio) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let endpoint = Endpoint::new(own, None, socket, tokio)?;
        let connection = endpoint
            .connect_with(config, server, &dns_name("db"))?
            .await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        let start = Instant::now();
        while start.elapsed() < time {
            send.write_all(&block).await?;
        }
        send.finish()?;
        let mut total = [0; 8];
        let sum = receive.read_exact(&mut total);
        tokio::time::timeout(PATIENCE, sum)
            .await
            .context("no sum")??;
        let seconds = start.elapsed().as_secs_f64();
        connection.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
        Ok(Done {
            rate: u64::from_be_bytes(total) as f64 / seconds,
            connections: 1,
            latencies: Vec::new(),
        })
    })
}
