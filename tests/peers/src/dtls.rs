//! A client and a server on dimpl: DTLS 1.3.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dimpl::{Config, Dtls, DtlsCertificate, Output};

use crate::setup::Setup;

const PATIENCE: Duration = Duration::from_secs(8);
const ROUNDS: usize = 3;

/// One end, its socket, and who is at the other end.
struct End {
    dtls: Dtls,
    socket: UdpSocket,
    peer: Option<std::net::SocketAddr>,
    connected: bool,
    certificate: bool,
}

impl End {
    fn new(setup: &Setup, client: bool) -> Result<Self> {
        let mut config = Config::builder().require_client_certificate(setup.asks());
        if setup.has("small") {
            config = config.mtu(500);
        }
        let (certificate, private_key) = setup.der()?;
        let own = DtlsCertificate { certificate, private_key };
        let mut dtls = Dtls::new_13(Arc::new(config.build()?), own, Instant::now());
        dtls.set_active(client);
        let socket =
            if client { UdpSocket::bind("127.0.0.1:0")? } else { UdpSocket::bind(setup.to)? };
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self { dtls, socket, peer: client.then_some(setup.to), connected: false, certificate: false })
    }

    /// Sends what is to be sent, and receives at most one datagram; the data that arrived.
    fn step(&mut self) -> Result<Vec<Vec<u8>>> {
        let (mut buf, mut data) = (vec![0; 4096], Vec::new());
        self.dtls.handle_timeout(Instant::now())?;
        self.drain(&mut data)?;
        match self.socket.recv_from(&mut buf) {
            Ok((len, from)) => {
                self.peer = Some(from);
                self.dtls.handle_packet(&buf[..len])?;
                self.drain(&mut data)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(data)
    }

    fn drain(&mut self, data: &mut Vec<Vec<u8>>) -> Result<()> {
        let mut buf = vec![0; 4096];
        loop {
            match self.dtls.poll_output(&mut buf) {
                Output::Packet(packet) => {
                    self.socket.send_to(packet, self.peer.context("nobody to answer")?)?;
                }
                Output::Connected => self.connected = true,
                Output::PeerCert(_) => self.certificate = true,
                Output::ApplicationData(bytes) => data.push(bytes.to_vec()),
                Output::Timeout(_) => return Ok(()),
                _ => {}
            }
        }
    }
}

pub(crate) fn client(setup: &Setup) -> Result<()> {
    let mut end = End::new(setup, true)?;
    let until = Instant::now() + PATIENCE;
    for round in 0..ROUNDS {
        while !end.connected {
            ensure!(Instant::now() < until, "no handshake");
            end.step()?;
        }
        end.dtls.send_application_data(format!("ping {round}\n").as_bytes())?;
        while end.step()?.is_empty() {
            ensure!(Instant::now() < until, "no answer");
        }
    }
    end.dtls.close()?;
    end.step()?;
    Ok(())
}

pub(crate) fn server(setup: &Setup) -> Result<()> {
    let mut end = End::new(setup, false)?;
    println!("ready");
    loop {
        for data in end.step()? {
            // It answers who has shown what it asked for.
            ensure!(end.certificate == setup.asks(), "not the certificate that was asked for");
            end.dtls.send_application_data(&data)?;
        }
    }
}
