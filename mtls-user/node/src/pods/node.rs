//! The node itself: every process with one of its addresses, including the kubelet.

use std::net::IpAddr;

use anyhow::Context;
use smol_str::SmolStr;

use super::Entry;
use mtls_core::record::{Kind, Workload};

/// This node's name: its Kubernetes name, or else the host's.
pub fn name(kubernetes: Option<&str>) -> SmolStr {
    let host = || nix::unistd::gethostname().ok()?.into_string().ok();
    kubernetes
        .map(str::to_owned)
        .or_else(host)
        .filter(|name| !name.chars().any(char::is_control))
        .map_or_else(|| SmolStr::new_static("node"), Into::into)
}

/// The addresses of this process's network namespace, as one entry.
pub fn addresses(kubernetes: Option<&str>) -> anyhow::Result<Entry> {
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
    Ok(Entry {
        workload: Workload {
            name: name(kubernetes),
            kind: Kind::Node.into(),
            ..Workload::default()
        },
        addresses,
        ..Entry::default()
    })
}
