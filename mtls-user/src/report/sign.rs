//! Signatures in minisign's format: `minisign -Vm SHA256SUMS -p KEY.pub` checks one.

use std::path::Path;

use anyhow::Context;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use minisign::{SecretKey, SecretKeyBox};
use mtls_core::record::Time;

/// A secret key, open.
pub(crate) struct Key(SecretKey);

impl Key {
    /// Reads a key of `minisign -G`. Of an encrypted one the password is in the file `password`, or
    /// is asked for on the terminal.
    pub(crate) fn read(path: &Path, password: Option<&Path>) -> anyhow::Result<Self> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read the key {shown}"))?;
        let password = password.map(|file| {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("read the password {}", file.display()))?;
            anyhow::Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        });
        let password = password.transpose()?;
        let wrong = || format!("{shown} is no secret key of minisign, or the password is wrong");
        let key = match unencrypted(&text) {
            Some(key) => key,
            None => SecretKeyBox::from_string(&text)
                .and_then(|key| key.into_secret_key(password))
                .with_context(wrong)?,
        };
        Ok(Self(key))
    }
}

/// A key without a password (`minisign -G -W`), of which minisign up to 0.11 writes no checksum.
fn unencrypted(text: &str) -> Option<SecretKey> {
    let bytes = BASE64_STANDARD.decode(text.lines().nth(1)?.trim()).ok()?;
    // The second pair of bytes names how the key is encrypted: zeros are no way at all.
    let is_open = bytes.get(2..4)? == [0, 0];
    is_open.then(|| SecretKey::from_bytes(&bytes).ok())?
}

/// The signature of the manifest; when it was made is signed too.
pub(super) fn sign(key: &Key, manifest: &str, made: Time) -> anyhow::Result<String> {
    let trusted = format!("report of mtls {}, made {made}", env!("CARGO_PKG_VERSION"));
    let signed = minisign::sign(
        None,
        &key.0,
        manifest.as_bytes(),
        Some(&trusted),
        Some("signature of SHA256SUMS by a minisign secret key"),
    );
    Ok(signed.context("sign the manifest")?.into_string())
}
