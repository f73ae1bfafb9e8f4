//! What a peer is to do.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// `TO` where to connect to or to listen, `SNI` the server's name, `CA` an authority, `CERT` and
/// `KEY` an identity, `OWN` set where a client shows it, `ASK` (`no`, `want`, `need`) whether a server
/// asks for one, `VERSION` 1.2 or 1.3.
pub(crate) struct Setup {
    pub(crate) to: SocketAddr,
    pub(crate) name: String,
    pub(crate) own: bool,
    pub(crate) is_13: bool,
    ask: String,
    options: Vec<String>,
}

impl Setup {
    pub(crate) fn new(options: Vec<String>) -> Result<Self> {
        let text = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
        Ok(Self {
            to: text("TO")?.parse()?,
            name: text("SNI")?,
            own: std::env::var_os("OWN").is_some(),
            is_13: text("VERSION").is_ok_and(|version| version == "1.3"),
            ask: text("ASK").unwrap_or_default(),
            options,
        })
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// How many connections, one after the other; later ones resume the first.
    pub(crate) fn turns(&self) -> usize {
        if self.has("again") { 2 } else { 1 }
    }

    pub(crate) fn pem(name: &str) -> Result<Vec<u8>> {
        let path = std::env::var(name).with_context(|| format!("{name} is not set"))?;
        std::fs::read(&path).with_context(|| format!("read {path}"))
    }

    fn roots() -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(&Self::pem("CA")?) {
            roots.add(cert?)?;
        }
        Ok(roots)
    }

    fn identity() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_slice_iter(&Self::pem("CERT")?).collect::<Result<_, _>>()?;
        Ok((chain, PrivateKeyDer::from_pem_slice(&Self::pem("KEY")?)?))
    }

    /// Whether a server asks for a certificate.
    pub(crate) fn asks(&self) -> bool {
        !matches!(self.ask.as_str(), "" | "no")
    }

    /// Its own certificate and key.
    pub(crate) fn der(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let (chain, key) = Self::identity()?;
        let own = chain.first().context("no certificate")?;
        Ok((own.to_vec(), key.secret_der().to_vec()))
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        if self.is_13 { TLS13 } else { TLS12 }
    }

    pub(crate) fn client(&self) -> Result<ClientConfig> {
        let builder = ClientConfig::builder_with_protocol_versions(self.versions())
            .with_root_certificates(Self::roots()?);
        Ok(if self.own {
            let (chain, key) = Self::identity()?;
            builder.with_client_auth_cert(chain, key)?
        } else {
            builder.with_no_client_auth()
        })
    }

    pub(crate) fn server(&self) -> Result<ServerConfig> {
        let builder = ServerConfig::builder_with_protocol_versions(self.versions());
        let (chain, key) = Self::identity()?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(Self::roots()?));
        let builder = match self.ask.as_str() {
            "need" => builder.with_client_cert_verifier(verifier.build()?),
            "want" => builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?),
            _ => builder.with_no_client_auth(),
        };
        Ok(builder.with_single_cert(chain, key)?)
    }
}
