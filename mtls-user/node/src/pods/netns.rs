//! Named network namespaces (`ip netns`) as pods: `shop.web` is the pod `web` of namespace `shop`.

use std::fs::{File, OpenOptions};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::sched::{CloneFlags, setns};

use super::Entry;
use crate::netlink::Netlink;
use mtls_core::record::Workload;

/// Most namespaces inspected.
const MAX: usize = 4_096;

/// Every named namespace in `directory`, with its addresses. A directory that does not exist
/// contains none.
pub async fn scan(netlink: &Netlink, directory: &Path) -> anyhow::Result<Vec<Entry>> {
    let path = directory.to_owned();
    // A directory may be on a slow file system.
    let listed = tokio::task::spawn_blocking(move || list(&path)).await??;
    let (names, files): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let (addresses, files) = look_into(files).await?;
    let links = netlink.into_namespaces(&files).await?;
    Ok(names
        .iter()
        .zip(addresses)
        .zip(links)
        .filter_map(|((name, addresses), links)| Some(entry(name, addresses?, links)))
        .collect())
}

fn list(directory: &Path) -> anyhow::Result<Vec<(String, Option<File>)>> {
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
        // Names that are not text, and files that are not namespaces, are not ours.
        if let Ok(text) = name.file_name().into_string()
            && !text.chars().any(char::is_control)
            && !is_made_up(&text)
            && let Some(file) = open(&name.path())
        {
            found.push((text, Some(file)));
        }
    }
    Ok(found)
}

/// Opens a namespace's file without waiting for any other kind of file with such a name: opening a
/// FIFO without a writer would block, and opening a device may do anything.
fn open(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let kind = std::fs::metadata(path).ok()?.file_type();
    if !kind.is_file() {
        return None;
    }
    // The file may have been replaced since.
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()
}

/// Container runtimes name a namespace `cni-UUID`, or only by a UUID: not a name to display.
fn is_made_up(name: &str) -> bool {
    let id = name.strip_prefix("cni-").unwrap_or(name);
    id.len() == 36
        && id.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The addresses by which others can reach each namespace; `None` if it cannot be entered. The
/// files are returned.
pub(super) async fn look_into(
    files: Vec<Option<File>>,
) -> anyhow::Result<(Vec<Option<Vec<IpAddr>>>, Vec<Option<File>>)> {
    let look = move || {
        // A thread cannot leave a namespace again: one temporary thread enters all of them.
        let thread = std::thread::spawn(move || {
            let look = |file: &Option<File>| {
                setns(file.as_ref()?, CloneFlags::CLONE_NEWNET).ok()?;
                addresses()
            };
            (files.iter().map(look).collect(), files)
        });
        thread.join()
    };
    tokio::task::spawn_blocking(look)
        .await?
        .map_err(|_| anyhow!("looking into network namespaces failed"))
}

/// The addresses by which others can reach this thread's namespace.
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

fn entry(name: &str, addresses: Vec<IpAddr>, links: Vec<u32>) -> Entry {
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
        links,
        ..Entry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_runtime_made_up_are_no_names() {
        assert!(is_made_up("cni-3f5e7f7a-91d2-4a44-9a3c-0b7d5a2c6e11"));
        assert!(is_made_up("3f5e7f7a-91d2-4a44-9a3c-0b7d5a2c6e11"));
        assert!(!is_made_up("shop.web"));
        assert!(!is_made_up("cni-demo"));
    }
}
