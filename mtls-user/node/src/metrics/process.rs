//! This process's resource usage, with the names of Prometheus' own libraries.

use mtls_core::record::ProcessStats;
use nix::unistd::{SysconfVar, sysconf};

/// The kernel's values for this process; zero if unavailable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) start_seconds: f64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
    pub(super) threads: u64,
}

impl Usage {
    pub(super) fn now() -> Self {
        let mut usage = Self::default();
        usage.read();
        usage
    }

    fn read(&mut self) -> Option<()> {
        let setting = |var| sysconf(var).ok().flatten();
        let (limit, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
            .unwrap_or_default();
        self.max_fds = limit;
        self.open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let ticks = setting(SysconfVar::CLK_TCK)? as f64;
        let page = setting(SysconfVar::PAGE_SIZE)? as u64;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // proc_pid_stat(5): the name may contain anything, and ends at the last parenthesis.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<u64> = rest
            .split_whitespace()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        // Numbered from 3.
        let field = |number: usize| fields.get(number - 3).copied();
        self.cpu_seconds = (field(14)? + field(15)?) as f64 / ticks;
        self.threads = field(20)?;
        self.virtual_bytes = field(23)?;
        self.resident_bytes = field(24)? * page;
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        self.start_seconds = boot.trim().parse::<f64>().ok()? + field(22)? as f64 / ticks;
        Some(())
    }
}

/// What this process uses, as `mtls status` shows it.
pub fn stats() -> ProcessStats {
    let usage = Usage::now();
    ProcessStats {
        cpu_seconds: usage.cpu_seconds,
        resident_bytes: usage.resident_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_of_everything() {
        let usage = Usage::now();
        assert!(usage.resident_bytes > 1 << 20 && usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.threads >= 1 && usage.open_fds >= 3 && usage.max_fds >= usage.open_fds);
        let now = crate::clock::wall(crate::clock::now()) as f64 / 1e9;
        assert!(
            (now - 86_400.0..now + 2.0).contains(&usage.start_seconds),
            "{usage:?}"
        );
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_millis(60) {}
        assert!(Usage::now().cpu_seconds > 0.0);
    }
}
