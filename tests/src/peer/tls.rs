//! rustls configurations, and a stream that may be TLS or not.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, CommonState, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::{Mode, Tls, Version};

/// One end of a connection.
pub(crate) enum Wire {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    /// The client's end, after its handshake.
    pub(crate) fn client(tcp: TcpStream, config: Arc<ClientConfig>, name: &str) -> Result<Self> {
        let name = ServerName::try_from(name.to_owned())?;
        let mut stream = StreamOwned::new(ClientConnection::new(config, name)?, tcp);
        stream
            .conn
            .complete_io(&mut stream.sock)
            .context("handshake")?;
        Ok(Self::Client(Box::new(stream)))
    }

    /// The server's end, after its handshake.
    pub(crate) fn server(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self> {
        let mut stream = StreamOwned::new(ServerConnection::new(config)?, tcp);
        let done = stream.conn.complete_io(&mut stream.sock);
        if done.is_err() {
            // The alert with the reason.
            let _ = stream.conn.write_tls(&mut stream.sock);
        }
        done.context("handshake")?;
        Ok(Self::Server(Box::new(stream)))
    }

    /// What TLS negotiated.
    pub(super) fn negotiated(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) => None,
            Self::Client(stream) => Some(&stream.conn),
            Self::Server(stream) => Some(&stream.conn),
        }
    }

    /// The version of TLS, as `1.3`.
    pub(super) fn version(&self) -> Option<String> {
        self.negotiated()?
            .protocol_version()
            .map(|version| match version {
                ProtocolVersion::TLSv1_2 => "1.2".into(),
                ProtocolVersion::TLSv1_3 => "1.3".into(),
                other => format!("{other:?}"),
            })
    }

    pub(super) fn resumed(&self) -> bool {
        self.negotiated()
            .is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Closes the connection, with close_notify for TLS.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Client(stream) => stream.conn.send_close_notify(),
            Self::Server(stream) => stream.conn.send_close_notify(),
        }
        // The other end may have closed first.
        let _ = self.flush();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Client(stream) => stream.read(buffer),
            Self::Server(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Client(stream) => stream.write(bytes),
            Self::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}

impl Tls {
    pub(crate) fn client(&self, mode: Mode, resume: bool) -> Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_protocol_versions(self.versions())
            .with_root_certificates(self.roots()?);
        let mut config = if mode == Mode::Mtls {
            let (chain, key) = self.identity()?;
            builder.with_client_auth_cert(chain, key)?
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = self.protocols();
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }

    pub(crate) fn server(&self, mode: Mode) -> Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_protocol_versions(self.versions());
        let builder = if mode == Mode::Mtls {
            let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots()?)).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (chain, key) = self.identity()?;
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = self.protocols();
        Ok(Arc::new(config))
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self.version {
            Some(Version::Tls12) => TLS12,
            Some(Version::Tls13) => TLS13,
            None => rustls::DEFAULT_VERSIONS,
        }
    }

    fn protocols(&self) -> Vec<Vec<u8>> {
        self.alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect()
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for cert in certificates(self.ca.as_deref().context("needs --ca")?)? {
            roots.add(cert)?;
        }
        Ok(roots)
    }

    fn identity(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = self.key.as_deref().context("needs --key")?;
        let chain = certificates(self.cert.as_deref().context("needs --cert")?)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("read a key from {}", key.display()))?;
        Ok((chain, key))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("read certificates from {}", path.display()))
}
