//! A certificate authority and its certificates, as PEM files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority that issues one certificate per workload, for both roles, as a mesh does.
pub struct Pki {
    /// The authority's certificate.
    pub ca: PathBuf,
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
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
        Ok(Self {
            ca,
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The certificate of `workload` in namespace `shop`, created on first use.
    pub fn identity(&self, workload: &str) -> Result<Identity> {
        let identity = Identity {
            cert: self.dir.join(format!("{workload}.pem")),
            key: self.dir.join(format!("{workload}.key")),
        };
        if !identity.cert.exists() {
            let key = KeyPair::generate()?;
            let cert = Self::params(workload)?.signed_by(&key, &self.issuer)?;
            std::fs::write(&identity.key, key.serialize_pem())?;
            // Some programs reject a key file that others can read.
            std::fs::set_permissions(&identity.key, Permissions::from_mode(0o600))?;
            std::fs::write(&identity.cert, cert.pem())?;
        }
        Ok(identity)
    }

    fn params(workload: &str) -> Result<CertificateParams> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, workload);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![
            SanType::DnsName(dns_name(workload).try_into()?),
            SanType::URI(spiffe_id(workload).try_into()?),
        ];
        Ok(params)
    }
}

/// The server name that clients request.
pub fn dns_name(workload: &str) -> String {
    format!("{workload}.shop.svc.cluster.local")
}

/// The SPIFFE id in the certificate.
pub fn spiffe_id(workload: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/sa/{workload}")
}
