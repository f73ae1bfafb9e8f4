//! The contents of a visible certificate, parsed once and shared between the flows in which it is
//! sent.

use sha2::{Digest, Sha256};
use smol_str::{SmolStr, format_smolstr};
use x509_parser::prelude::*;
use x509_parser::public_key::PublicKey;

use crate::record::{CertificateInfo, Time, Validity};
use crate::wire::text;

/// The most names kept of one certificate.
const MAX_NAMES: usize = 16;

/// A certificate's fields, without a judgement on its dates.
#[derive(Clone, PartialEq, Debug)]
pub struct Certificate {
    info: CertificateInfo,
}

impl Certificate {
    /// The certificate in `der`.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, cert) = X509Certificate::from_der(der).ok()?;
        let whole = &der[..der.len() - rest.len()];
        let mut info = CertificateInfo {
            subject: name(cert.subject()).into(),
            issuer: name(cert.issuer()).into(),
            not_before: Time::from_seconds(cert.validity().not_before.timestamp()),
            not_after: Time::from_seconds(cert.validity().not_after.timestamp()),
            key: key(&cert),
            // RFC 5280 §4.1.2.2: at most 20 octets; anything longer is not a valid serial number.
            serial: hex(&cert.raw_serial()[..cert.raw_serial().len().min(20)]),
            sha256: hex(&Sha256::digest(whole)),
            ..CertificateInfo::default()
        };
        if let Ok(Some(sans)) = cert.subject_alternative_name() {
            let sans = || sans.value.general_names.iter().take(MAX_NAMES);
            info.sans = sans().filter_map(alternative).collect();
            for san in sans() {
                if let GeneralName::URI(uri) = san
                    && uri.starts_with("spiffe://")
                    && info.spiffe_id.is_none()
                {
                    info.spiffe_id = Some(text::clean(uri.as_bytes()));
                }
            }
        }
        Some(Self { info })
    }

    /// What it says, judged at `time` (nanoseconds since the Unix epoch).
    pub fn info(&self, time: u64) -> CertificateInfo {
        let time = Time::from_seconds((time / 1_000_000_000) as i64);
        let validity = if time < self.info.not_before {
            Validity::NotYetValid
        } else if time > self.info.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        };
        CertificateInfo {
            validity: validity.into(),
            ..self.info.clone()
        }
    }

    /// Its identity: SPIFFE id, else the first alternative name, else the subject.
    pub fn identity(&self) -> SmolStr {
        let first = || {
            let san = self.info.sans.first()?;
            Some(san.split_once(':').map_or(&**san, |(_, name)| name).into())
        };
        self.info
            .spiffe_id
            .clone()
            .or_else(first)
            .unwrap_or_else(|| self.info.subject.clone())
    }
}

fn hex(bytes: &[u8]) -> SmolStr {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// Relative names from the most specific on, in the order of RFC 4514.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for rdn in name.iter_rdn().take(MAX_NAMES) {
        for attribute in rdn.iter().take(4) {
            let value = attribute.as_str().map_or_else(
                |_| text::clean(attribute.as_slice()),
                |s| text::clean(s.as_bytes()),
            );
            let kind = oid_registry().get(attribute.attr_type()).map_or_else(
                || attribute.attr_type().to_id_string(),
                |entry| short_name(entry.sn()).to_owned(),
            );
            parts.push(format!("{kind}={value}"));
        }
    }
    parts.reverse();
    let joined = parts.join(",");
    match joined.char_indices().nth(1024) {
        Some((end, _)) => joined[..end].to_owned(),
        None => joined,
    }
}

fn short_name(sn: &str) -> &str {
    match sn {
        "commonName" => "CN",
        "countryName" => "C",
        "organizationName" => "O",
        "organizationalUnit" | "organizationalUnitName" => "OU",
        "localityName" => "L",
        "stateOrProvinceName" => "ST",
        "domainComponent" => "DC",
        other => other,
    }
}

fn alternative(san: &GeneralName<'_>) -> Option<SmolStr> {
    Some(match san {
        GeneralName::DNSName(dns) => format_smolstr!("dns:{}", text::clean(dns.as_bytes())),
        GeneralName::URI(uri) => format_smolstr!("uri:{}", text::clean(uri.as_bytes())),
        GeneralName::RFC822Name(mail) => format_smolstr!("email:{}", text::clean(mail.as_bytes())),
        GeneralName::IPAddress(bytes) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                format_smolstr!("ip:{}", std::net::Ipv4Addr::from(v4))
            } else {
                let v6 = <[u8; 16]>::try_from(*bytes).ok()?;
                format_smolstr!("ip:{}", std::net::Ipv6Addr::from(v6))
            }
        }
        _ => return None,
    })
}

fn key(cert: &X509Certificate<'_>) -> SmolStr {
    let spki = cert.public_key();
    let oid = spki.algorithm.algorithm.to_id_string();
    match &*oid {
        "1.3.101.112" => return "ed25519".into(),
        "1.3.101.113" => return "ed448".into(),
        "2.16.840.1.101.3.4.3.17" => return "ml-dsa-44".into(),
        "2.16.840.1.101.3.4.3.18" => return "ml-dsa-65".into(),
        "2.16.840.1.101.3.4.3.19" => return "ml-dsa-87".into(),
        _ => {}
    }
    match spki.parsed() {
        Ok(PublicKey::RSA(rsa)) => format_smolstr!("rsa-{}", rsa.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = spki
                .algorithm
                .parameters
                .as_ref()
                .and_then(|p| p.as_oid().ok())
                .map(|oid| oid.to_id_string())
                .unwrap_or_default();
            match &*curve {
                "1.2.840.10045.3.1.7" => "ecdsa-p256".into(),
                "1.3.132.0.34" => "ecdsa-p384".into(),
                "1.3.132.0.35" => "ecdsa-p521".into(),
                "1.3.132.0.10" => "ecdsa-secp256k1".into(),
                other => format_smolstr!("ecdsa-{other}"),
            }
        }
        Ok(PublicKey::DSA(_)) => "dsa".into(),
        _ => oid.into(),
    }
}
