//! A process's resources, counted from outside: descriptors, threads, and programs on interfaces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::programs::{SchedClassifier, TcAttachType};

/// How many there are of each kind.
pub type Census = BTreeMap<String, usize>;

/// How many descriptors of each kind a process has (`bpf-prog`, `bpf-map`, `bpf_link`, `socket`,
/// …), and how many threads.
pub fn of(pid: u32) -> Result<Census> {
    let mut count = Census::new();
    for target in descriptors(pid)? {
        *count.entry(kind(&target)).or_default() += 1;
    }
    // From time to time, the daemon has the kernel measure its programs for a second.
    count.remove("bpf-stats");
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).context("list threads")?;
    count.insert("threads".into(), threads.count());
    Ok(count)
}

/// Whether somebody is connected to a Unix socket, in this thread's network namespace.
pub fn has_client(socket: &Path) -> Result<bool> {
    const CONNECTED: &str = "03";
    let table = std::fs::read_to_string("/proc/thread-self/net/unix").context("list sockets")?;
    let socket = socket.to_string_lossy();
    // An accepted connection has the name to which its listener was bound, which may have been
    // renamed since: the prefix is enough.
    Ok(table.lines().any(|line| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        columns.get(5) == Some(&CONNECTED)
            && columns
                .get(7)
                .is_some_and(|path| path.starts_with(&*socket))
    }))
}

/// How many programs are attached to an interface with tcx, per direction: for what the pod sends,
/// and for what it receives.
pub fn tcx(interface: &str) -> Result<[usize; 2]> {
    let count = |direction| -> Result<usize> {
        let (_, programs) = SchedClassifier::query_tcx(interface, direction)
            .with_context(|| format!("ask for the programs on {interface}"))?;
        Ok(programs.len())
    };
    Ok([count(TcAttachType::Ingress)?, count(TcAttachType::Egress)?])
}

fn descriptors(pid: u32) -> Result<Vec<PathBuf>> {
    let dir = format!("/proc/{pid}/fd");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("list {dir}"))?;
    // A descriptor that was closed in the meantime does not count.
    Ok(entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .collect())
}

/// `anon_inode:bpf-map` is `bpf-map`, `socket:[4711]` is `socket`, a path is itself.
fn kind(target: &Path) -> String {
    let target = target.to_string_lossy();
    let name = target.strip_prefix("anon_inode:").unwrap_or(&target);
    let name = name.split(":[").next().unwrap_or(name);
    name.trim_matches(['[', ']']).to_owned()
}
