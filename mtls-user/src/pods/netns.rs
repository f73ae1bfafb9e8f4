//! Named network namespaces (`ip netns`) as pods: `shop.web` is the pod `web` of namespace `shop`.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::sched::{CloneFlags, setns};

use super::Entry;
use crate::verdict::Workload;

/// Most namespaces looked into.
const MAX: usize = 4_096;

/// Every namespace that has a name in `directory`, with its addresses. A directory that does not
/// exist has none.
pub fn scan(directory: &Path) -> anyhow::Result<Vec<Entry>> {
    let names = match std::fs::read_dir(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("list {}", directory.display()));
        }
    };
    let mut found = Vec::new();
    for name in names.take(MAX) {
        let name = name.with_context(|| format!("list {}", directory.display()))?;
        // Names that are no text, and files that are no namespace, are somebody else's.
        if let Ok(text) = name.file_name().into_string()
            && !text.chars().any(char::is_control)
            && let Ok(file) = File::open(name.path())
        {
            found.push((text, file));
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // A thread enters a namespace for good: one that ends afterwards does it for all of them.
    std::thread::spawn(move || {
        found
            .into_iter()
            .filter_map(|(name, file)| {
                setns(&file, CloneFlags::CLONE_NEWNET).ok()?;
                Some(entry(&name, addresses()?))
            })
            .collect()
    })
    .join()
    .map_err(|_| {
        anyhow!(
            "looking into the namespaces of {} failed",
            directory.display()
        )
    })
}

/// The addresses that others can reach this thread's namespace by.
fn addresses() -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().ok()? {
        let Some(storage) = interface.address else {
            continue;
        };
        let ip = if let Some(v4) = storage.as_sockaddr_in() {
            IpAddr::V4(v4.ip())
        } else if let Some(v6) = storage.as_sockaddr_in6() {
            IpAddr::V6(v6.ip())
        } else {
            continue;
        };
        let local = match ip {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        };
        if !local {
            addresses.push(ip);
        }
    }
    Some(addresses)
}

fn entry(name: &str, addresses: Vec<IpAddr>) -> Entry {
    let (namespace, pod) = name.split_once('.').unwrap_or(("", name));
    Entry {
        workload: Workload {
            name: pod.into(),
            namespace: namespace.into(),
            kind: "pod".into(),
            pod: Some(pod.into()),
            ..Workload::default()
        },
        addresses,
        links: Vec::new(),
    }
}
