//! The memory that the kernel charges to a process and to the BPF maps that it creates: what a
//! container's limit applies to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};

/// A control group of its own for memory, removed when dropped.
pub(super) struct Group {
    path: PathBuf,
    /// The file with the most memory that it has used.
    peak: &'static str,
}

impl Group {
    /// A new group; `None` if this machine has no memory controller.
    pub(super) fn new() -> Option<Self> {
        let versions = [
            ("/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"),
            ("/sys/fs/cgroup", "memory.peak"),
        ];
        for (root, peak) in versions {
            let path = Path::new(root).join(format!("mtls-bench-{}", process::id()));
            if !Path::new(root).join("cgroup.procs").exists() || fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Self { path, peak };
            if group.path.join(peak).exists() {
                return Some(group);
            }
        }
        None
    }

    /// Does something that starts a process, which belongs to the group.
    pub(super) fn start<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let join = |group: &Path| {
            fs::write(group.join("cgroup.procs"), process::id().to_string())
                .with_context(|| format!("join {}", group.display()))
        };
        join(&self.path)?;
        let started = start();
        join(self.path.parent().context("a root")?)?;
        started
    }

    /// The most memory that it has used, in bytes.
    pub(super) fn peak(&self) -> Result<u64> {
        let path = self.path.join(self.peak);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        text.trim().parse().context("a peak that is no number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is not empty until the processes in it have ended.
        let _ = fs::remove_dir(&self.path);
    }
}
