//! What TLS has to be: a policy, of those that are built in or from a file, and what is below it.
//!
//! ```yaml
//! name: ours                       # otherwise that of the file
//! tls-versions: ["1.2", "1.3"]
//! ciphers: [TLS_AES_256_GCM_SHA384]
//! groups: [X25519MLKEM768, x25519]
//! keys: [rsa-3072+, ecdsa-p384]   # a number with + is a least one
//! min-days-left: 14
//! ```
//!
//! What a policy leaves out, it allows.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, ensure};
use mtls_core::record::{Aspect, Cause, FlowRecord, Side, Time, TlsInfo, Verdict};
use mtls_core::wire::tls::names;
use serde::Deserialize;
use smol_str::{SmolStr, format_smolstr};

use super::{certificate, days, is_13, is_tls, may_have_shown};

/// Largest file read, in bytes.
const MAX: u64 = 1 << 20;

/// Those that are built in.
const BUILT_IN: [(&str, &str); 4] = [
    ("modern", include_str!("policies/modern.yaml")),
    ("intermediate", include_str!("policies/intermediate.yaml")),
    ("fips-140-3", include_str!("policies/fips-140-3.yaml")),
    ("cnsa-2.0", include_str!("policies/cnsa-2.0.yaml")),
];

/// Keys of one size, as records have them; of RSA any size has its name.
const KEYS: [&str; 10] = [
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "ecdsa-secp256k1",
    "ed25519",
    "ed448",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
    "dsa",
];

const VERSIONS: [&str; 6] = ["ssl2", "ssl3", "1.0", "1.1", "1.2", "1.3"];

/// What TLS has to be.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Policy {
    /// What it is called.
    #[serde(default)]
    pub(crate) name: SmolStr,
    tls_versions: Option<Vec<SmolStr>>,
    ciphers: Option<Vec<SmolStr>>,
    groups: Option<Vec<SmolStr>>,
    keys: Option<Vec<SmolStr>>,
    #[serde(default)]
    min_days_left: i64,
}

/// Something that is below a policy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Fault {
    pub(super) aspect: Aspect,
    pub(super) value: SmolStr,
    /// The side without which the policy would be met, where that can be told.
    pub(super) held_back_by: Option<Side>,
}

/// What a policy says of one end of a connection.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Judged {
    pub(super) below: Vec<Fault>,
    /// What could not be seen, and so not judged.
    pub(super) not_judged: Vec<Aspect>,
}

impl Judged {
    fn below(&mut self, aspect: Aspect, value: impl Into<SmolStr>, by: Option<Side>) {
        self.below.push(Fault {
            aspect,
            value: value.into(),
            held_back_by: by,
        });
    }
}

impl FromStr for Policy {
    type Err = String;

    /// A built-in policy by its name, or the one in a file.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, yaml)) = BUILT_IN.iter().find(|(name, _)| *name == text) {
            return Self::parse(yaml, text).map_err(|error| format!("{error:#}"));
        }
        let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let path = Path::new(text);
        if !path.exists() {
            return Err(format!(
                "`{text}` is no policy and no file: write {names}, or name a file"
            ));
        }
        Self::read(path).map_err(|error| format!("{error:#}"))
    }
}

impl Policy {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let of = std::fs::metadata(path).with_context(|| format!("read {shown}"))?;
        ensure!(of.is_file(), "{shown} is no file");
        ensure!(of.len() <= MAX, "{shown}: a policy has at most 1 MiB");
        let text = std::fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&text, &stem).with_context(|| format!("{shown} is no policy"))
    }

    /// Reads a policy, which is called `name` where it does not say what it is called.
    fn parse(yaml: &str, name: &str) -> anyhow::Result<Self> {
        let mut policy: Self = mtls_node::yaml::read(yaml)?;
        if policy.name.is_empty() {
            policy.name = name.into();
        }
        ensure!(
            policy.min_days_left >= 0,
            "`min-days-left: {}` lets certificates be past their date: write 0 or more days",
            policy.min_days_left
        );
        for key in policy.keys.iter().flatten() {
            ensure!(
                is_key(key),
                "`{key}` is no key: write {}, rsa-3072 or, for a least size, rsa-3072+",
                KEYS.join(", ")
            );
        }
        for version in policy.tls_versions.iter().flatten() {
            ensure!(
                VERSIONS.contains(&version.as_str()),
                "`{version}` is no version of TLS: write {}",
                VERSIONS.join(", ")
            );
        }
        for cipher in policy.ciphers.iter().flatten() {
            ensure!(
                names::cipher_id(cipher).is_some(),
                "`{cipher}` is no cipher suite: write its IANA name, as TLS_AES_128_GCM_SHA256"
            );
        }
        for group in policy.groups.iter().flatten() {
            ensure!(
                (0..=u16::MAX).any(|id| names::group(id) == *group),
                "`{group}` is no group: write its IANA name, as x25519 or X25519MLKEM768"
            );
        }
        Ok(policy)
    }

    /// What is below this policy at one end of a connection. What both ends agreed on is found at
    /// both; a certificate is its owner's.
    pub(super) fn judge(&self, flow: &FlowRecord, role: Side, now: Time) -> Judged {
        let mut judged = Judged::default();
        if flow.cause == Cause::SecretInClear {
            judged.below(Aspect::Encryption, "a secret in clear", Some(Side::Client));
        }
        if !is_tls(flow) || flow.verdict == Verdict::Plaintext {
            match flow.verdict.known() {
                Some(Verdict::Plaintext) => {
                    let value = format_smolstr!("plaintext {}", flow.protocol);
                    judged.below(Aspect::Encryption, value, None);
                }
                Some(Verdict::Opaque) => judged.below(Aspect::Encryption, "opaque", None),
                // Nothing was exposed.
                Some(Verdict::Failed | Verdict::NoData) => {}
                _ => judged.not_judged.push(Aspect::Encryption),
            }
            return judged;
        }
        // Of a handshake that failed, only what was seen counts: nothing was sent.
        let failed = flow.verdict == Verdict::Failed;
        let none = TlsInfo::default();
        let tls = flow.tls.as_deref().unwrap_or(&none);
        self.hellos(tls, &mut judged);
        self.certificate(tls, role, now, &mut judged);
        if failed {
            judged.not_judged.clear();
        }
        judged
    }

    /// What both hellos agreed on.
    fn hellos(&self, tls: &TlsInfo, judged: &mut Judged) {
        if let Some(allowed) = &self.tls_versions {
            match &tls.version {
                None => judged.not_judged.push(Aspect::Version),
                Some(version) if allowed.contains(version) => {}
                Some(version) => {
                    let by = tls.version_offered.as_ref().map(|offered| {
                        if allowed.contains(offered) {
                            Side::Server
                        } else {
                            Side::Client
                        }
                    });
                    judged.below(Aspect::Version, version.clone(), by);
                }
            }
        }
        if let Some(allowed) = &self.ciphers {
            match &tls.cipher {
                None => judged.not_judged.push(Aspect::Cipher),
                Some(cipher) if allowed.contains(cipher) => {}
                Some(cipher) => judged.below(Aspect::Cipher, cipher.clone(), None),
            }
        }
        if let Some(allowed) = &self.groups {
            match (&tls.group, tls.version.as_deref()) {
                (Some(group), _) if allowed.contains(group) => {}
                (Some(group), _) => {
                    let by = tls.version_offered.as_ref().map(|_| {
                        if tls.groups_offered.iter().any(|one| allowed.contains(one)) {
                            Side::Server
                        } else {
                            Side::Client
                        }
                    });
                    judged.below(Aspect::Group, group.clone(), by);
                }
                // RFC 8446 §2.2: a pre-shared key alone, without a key exchange.
                (None, Some(version)) if is_13(version) => {
                    judged.below(Aspect::Group, "none, a pre-shared key alone", None);
                }
                (None, _) => judged.not_judged.push(Aspect::Group),
            }
        }
    }

    fn certificate(&self, tls: &TlsInfo, role: Side, now: Time, judged: &mut Judged) {
        let Some(certificate) = certificate(Some(tls), role) else {
            if may_have_shown(tls, role) {
                judged.not_judged.push(Aspect::Validity);
                if self.keys.is_some() {
                    judged.not_judged.push(Aspect::Key);
                }
            }
            return;
        };
        if let Some(allowed) = &self.keys
            && !allowed.iter().any(|key| takes(key, &certificate.key))
        {
            judged.below(Aspect::Key, certificate.key.clone(), Some(role));
        }
        let left = days(certificate.not_after, now);
        if left < 0 {
            judged.below(Aspect::Validity, "expired", Some(role));
        } else if now < certificate.not_before {
            judged.below(Aspect::Validity, "not yet valid", Some(role));
        } else if left < self.min_days_left {
            let value = format_smolstr!("expires in less than {} days", self.min_days_left);
            judged.below(Aspect::Validity, value, Some(role));
        }
    }
}

/// Whether there are keys that are called so.
fn is_key(text: &str) -> bool {
    let rsa = text.strip_prefix("rsa-");
    let bits = rsa.and_then(|bits| bits.strip_suffix('+').unwrap_or(bits).parse::<u32>().ok());
    // A curve without a name has its object identifier.
    let curve = text.strip_prefix("ecdsa-").unwrap_or_default();
    let is_oid = |text: &str| {
        let parts: Vec<_> = text.split('.').collect();
        parts.len() > 2 && parts.iter().all(|part| part.parse::<u64>().is_ok())
    };
    KEYS.contains(&text) || bits.is_some_and(|bits| bits > 0) || is_oid(curve)
}

/// Whether a key is one that is allowed: `rsa-2048+` is RSA of at least 2048 bits.
fn takes(allowed: &str, key: &str) -> bool {
    let Some(least) = allowed.strip_suffix('+') else {
        return allowed == key;
    };
    let parts = |text: &str| -> Option<(String, u32)> {
        let (kind, bits) = text.rsplit_once('-')?;
        Some((kind.into(), bits.parse().ok()?))
    };
    match (parts(least), parts(key)) {
        (Some((kind, least)), Some((own, bits))) => kind == own && bits >= least,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_that_are_built_in_are_right_and_called_as_they_are() {
        for (name, _) in BUILT_IN {
            let policy: Policy = name.parse().unwrap();
            assert_eq!(policy.name, name);
            for all in [
                &policy.tls_versions,
                &policy.ciphers,
                &policy.groups,
                &policy.keys,
            ] {
                assert!(all.as_ref().is_some_and(|list| !list.is_empty()), "{name}");
            }
        }
    }

    #[test]
    fn a_wrong_policy_says_what_is_wrong_with_it() {
        for (yaml, says) in [
            ("min-days-left: -5", "0 or more"),
            ("min-days-left: soon", "line 1"),
            ("keys: [rsa2048]", "rsa-3072+"),
            ("keys: [ecdsa-p256+]", "ecdsa-p256"),
            ("keys: [rsa-big+]", "no key"),
            ("keys: [ecdsa-p257]", "no key"),
            ("name: x\ntls-versions: [\"1.4\"]", "1.3"),
            ("name: x\nciphers: [AES256-SHA]", "IANA"),
            ("name: x\ngroups: [P-256]", "x25519"),
            ("name: x\ncolours: [red]", "colours"),
        ] {
            let error = format!("{:#}", Policy::parse(yaml, "file").unwrap_err());
            assert!(error.contains(says), "{yaml}: {error}");
        }
        let error = "strict".parse::<Policy>().unwrap_err();
        assert!(
            error.contains("cnsa-2.0") && error.contains("file"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_says_no_name_is_called_as_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ours.yaml");
        for (yaml, name) in [
            ("keys: [rsa-3072+, ecdsa-1.3.36.3.3.2.8.1.1.7]", "ours"),
            ("name: theirs\nmin-days-left: 0", "theirs"),
        ] {
            std::fs::write(&path, yaml).unwrap();
            let policy: Policy = path.to_str().unwrap().parse().unwrap();
            assert_eq!(policy.name, name);
        }
    }

    #[test]
    fn a_key_is_at_least_so_long() {
        assert!(takes("rsa-2048+", "rsa-2048") && takes("rsa-2048+", "rsa-4096"));
        assert!(!takes("rsa-2048+", "rsa-1024") && !takes("rsa-2048+", "ecdsa-p256"));
        assert!(takes("ecdsa-p256", "ecdsa-p256") && !takes("ecdsa-p256", "ecdsa-p384"));
        assert!(!takes("rsa-2048", "rsa-4096"));
    }
}
