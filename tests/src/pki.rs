//! A certificate authority and the certificates it gave out, as PEM files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Name in the server's certificate, that clients ask for.
pub const SERVER_NAME: &str = "db.shop.svc.cluster.local";
/// SPIFFE id in the server's certificate.
pub const SERVER_ID: &str = "spiffe://cluster.local/ns/shop/sa/db";
/// SPIFFE id in the client's certificate.
pub const CLIENT_ID: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Files of one authority.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// A server's certificate and key, with [`SERVER_NAME`] and [`SERVER_ID`].
    pub server: Identity,
    /// A client's certificate and key, with [`CLIENT_ID`].
    pub client: Identity,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Pki {
    /// A new authority with its files in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let server = issue(&issuer, dir, "server", Some(SERVER_NAME), SERVER_ID, usage)?;
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let client = issue(&issuer, dir, "client", None, CLIENT_ID, usage)?;
        Ok(Self { ca, server, client })
    }
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
    dir: &Path,
    role: &str,
    dns: Option<&str>,
    spiffe_id: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<Identity> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, role);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    if let Some(dns) = dns {
        params
            .subject_alt_names
            .push(SanType::DnsName(dns.try_into()?));
    }
    params
        .subject_alt_names
        .push(SanType::URI(spiffe_id.try_into()?));
    let identity = Identity {
        cert: dir.join(format!("{role}.pem")),
        key: dir.join(format!("{role}.key")),
    };
    std::fs::write(&identity.cert, params.signed_by(&key, issuer)?.pem())?;
    std::fs::write(&identity.key, key.serialize_pem())?;
    Ok(identity)
}
