//! A static file of names, for environments without another source.
//!
//! One entry per line, `ADDRESS[,ADDRESS…] NAMESPACE/NAME [SERVICE-ACCOUNT]`; `#` begins a comment.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, bail};

use super::Entry;
use super::entry::MAX_NAME;
use mtls_core::record::Workload;

/// Reads such a file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the file of pod names {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        entries.push(entry(line).with_context(|| {
            format!(
                "line {}: expected `ADDRESS[,ADDRESS…] NAMESPACE/NAME [SERVICE-ACCOUNT]`",
                number + 1
            )
        })?);
    }
    Ok(entries)
}

fn entry(line: &str) -> anyhow::Result<Entry> {
    let mut words = line.split_whitespace();
    let addresses = words.next().context("no address")?;
    let name = words.next().context("no name")?;
    let account = words.next();
    if words.next().is_some() {
        bail!("more than three words");
    }
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    for word in [namespace, name, account.unwrap_or_default()] {
        if word.len() > MAX_NAME || word.chars().any(char::is_control) {
            bail!("a name is longer than {MAX_NAME} bytes or has control characters");
        }
    }
    let addresses = addresses
        .split(',')
        .map(|ip| {
            ip.parse::<IpAddr>()
                .with_context(|| format!("`{}` is no address", ip.escape_debug()))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Entry {
        workload: Workload {
            name: name.into(),
            namespace: namespace.into(),
            kind: "pod".into(),
            pod: Some(name.into()),
            service_account: account.map(Into::into),
            stale: None,
        },
        addresses,
        ..Entry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_entries() {
        let entries =
            parse("# names\n10.0.0.1,fd00::1 shop/web web-sa\n\n10.0.0.2 lone # here\n").unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].addresses.len(), 2);
        assert_eq!(
            entries[0].workload.service_account.as_deref(),
            Some("web-sa")
        );
        assert_eq!(entries[1].workload.name, "lone");
        assert_eq!(entries[1].workload.namespace, "");
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, what) in [
            ("10.0.0.1 a/b\nnonsense a/b", "line 2"),
            ("10.0.0.1", "line 1"),
            ("10.0.0.1 a/b c d", "line 1"),
            ("10.0.0.1 a/\u{1b}[2J", "line 1"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(what), "{error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
    }
}
