//! Clients and servers on quinn and s2n-quic. A client sends three lines and wants each of them back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use s2n_quic::provider::tls::{Provider, rustls as s2n_rustls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::setup::Setup;

const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

/// Asks and hears the answer, three times.
async fn talk(
    send: &mut (impl AsyncWrite + Unpin),
    receive: &mut (impl AsyncRead + Unpin),
) -> Result<()> {
    for n in 0..3 {
        let ping = format!("ping {n}\n");
        send.write_all(ping.as_bytes()).await?;
        send.flush().await?;
        let mut answer = vec![0; ping.len()];
        tokio::time::timeout(PATIENCE, receive.read_exact(&mut answer)).await??;
        ensure!(answer == ping.as_bytes(), "another answer");
    }
    Ok(())
}

async fn echo(mut send: impl AsyncWrite + Unpin, mut receive: impl AsyncRead + Unpin) {
    let mut buffer = [0; 2048];
    while let Ok(n @ 1..) = receive.read(&mut buffer).await {
        if send.write_all(&buffer[..n]).await.is_err() || send.flush().await.is_err() {
            return;
        }
    }
}

fn client_config(setup: &Setup) -> Result<rustls::ClientConfig> {
    let mut config = setup.client()?;
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.enable_early_data = setup.has("early");
    Ok(config)
}

fn server_config(setup: &Setup) -> Result<rustls::ServerConfig> {
    let mut config = setup.server()?;
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.max_early_data_size = u32::MAX;
    Ok(config)
}

fn transport(setup: &Setup) -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport.mtu_discovery_config(None);
    transport.pad_to_mtu(setup.has("pad"));
    Arc::new(transport)
}

pub(crate) async fn quinn_client(setup: &Setup) -> Result<()> {
    let crypto = QuicClientConfig::try_from(client_config(setup)?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(setup));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
    for turn in 0..setup.turns() {
        let connecting = endpoint.connect_with(config.clone(), setup.to, &setup.name)?;
        let connection = if turn > 0 && setup.has("early") {
            let (connection, accepted) =
                connecting.into_0rtt().ok().context("the second connection resumed nothing")?;
            let (mut send, mut receive) = connection.open_bi().await?;
            talk(&mut send, &mut receive).await?;
            ensure!(accepted.await, "early data was refused");
            connection
        } else {
            let connection = tokio::time::timeout(PATIENCE, connecting).await??;
            let (mut send, mut receive) = connection.open_bi().await?;
            talk(&mut send, &mut receive).await?;
            connection
        };
        let data = connection.handshake_data().context("no handshake")?;
        let _ = data.downcast::<HandshakeData>();
        if setup.has("move") {
            endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
            let (mut send, mut receive) = connection.open_bi().await?;
            talk(&mut send, &mut receive).await?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        connection.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
    }
    Ok(())
}

pub(crate) async fn quinn_server(setup: &Setup) -> Result<()> {
    let crypto = QuicServerConfig::try_from(server_config(setup)?)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(setup));
    let endpoint = quinn::Endpoint::server(config, setup.to)?;
    println!("ready");
    let retry = setup.has("retry");
    while let Some(incoming) = endpoint.accept().await {
        if retry && !incoming.remote_address_validated() {
            incoming.retry().ok().context("no Retry")?;
            continue;
        }
        tokio::spawn(async move {
            let connection = incoming.accept()?.await?;
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(echo(send, receive));
            }
            anyhow::Ok(())
        });
    }
    Ok(())
}

/// rustls for s2n-quic, which has no way of its own to ask for certificates.
struct Rustls {
    client: Option<rustls::ClientConfig>,
    server: Option<rustls::ServerConfig>,
}

impl Provider for Rustls {
    type Server = s2n_rustls::Server;
    type Client = s2n_rustls::Client;
    type Error = &'static str;

    fn start_server(self) -> Result<Self::Server, Self::Error> {
        self.server.map(Into::into).ok_or("no server")
    }

    fn start_client(self) -> Result<Self::Client, Self::Error> {
        self.client.map(Into::into).ok_or("no client")
    }
}

pub(crate) async fn s2n_client(setup: &Setup) -> Result<()> {
    let tls = Rustls { client: Some(client_config(setup)?), server: None };
    let client = s2n_quic::Client::builder().with_tls(tls)?.with_io("127.0.0.1:0")?;
    let client = client.start().map_err(|error| anyhow::anyhow!("{error}"))?;
    for _ in 0..setup.turns() {
        let to = s2n_quic::client::Connect::new(setup.to).with_server_name(setup.name.as_str());
        let mut connection = tokio::time::timeout(PATIENCE, client.connect(to)).await??;
        let (mut receive, mut send) = connection.open_bidirectional_stream().await?.split();
        talk(&mut send, &mut receive).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        connection.close(0_u32.into());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

pub(crate) async fn s2n_server(setup: &Setup) -> Result<()> {
    let tls = Rustls { client: None, server: Some(server_config(setup)?) };
    let server = s2n_quic::Server::builder().with_tls(tls)?.with_io(setup.to)?;
    let mut server = server.start().map_err(|error| anyhow::anyhow!("{error}"))?;
    println!("ready");
    while let Some(mut connection) = server.accept().await {
        tokio::spawn(async move {
            while let Ok(Some(stream)) = connection.accept_bidirectional_stream().await {
                let (receive, send) = stream.split();
                tokio::spawn(echo(send, receive));
            }
        });
    }
    Ok(())
}
