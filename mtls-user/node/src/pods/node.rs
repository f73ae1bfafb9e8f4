//! The node itself: whatever has an address of its own here, the kubelet among it.

use std::net::IpAddr;

use anyhow::Context;

use super::Entry;
use mtls_core::record::Workload;

/// The addresses of the namespace this process runs in, as one entry.
pub fn addresses() -> anyhow::Result<Entry> {
    let interfaces = nix::ifaddrs::getifaddrs().context("list this node's addresses")?;
    let addresses = interfaces
        .filter_map(|interface| {
            let storage = interface.address?;
            if let Some(v4) = storage.as_sockaddr_in() {
                Some(IpAddr::V4(v4.ip()))
            } else {
                storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
            }
        })
        .collect();
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.chars().any(char::is_control))
        .unwrap_or_else(|| "node".into());
    Ok(Entry {
        workload: Workload {
            name: name.into(),
            kind: "node".into(),
            ..Workload::default()
        },
        addresses,
        ..Entry::default()
    })
}
