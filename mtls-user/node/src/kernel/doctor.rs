//! The daemon's requirements on this machine, and the command that fixes what is missing.

mod bpf;

use std::fs;

use mtls_core::record::{Check, CheckState as State};

/// Runs all checks.
pub fn checks() -> Vec<Check> {
    let release = read("/proc/sys/kernel/osrelease");
    let version = version(&release);
    vec![
        object(),
        kernel(&release, version),
        hook(version),
        btf(),
        capabilities(),
        bpf::bpf(),
        jit(),
        memlock(version),
        bpffs(),
        chain(),
    ]
}

fn check(name: &str, state: State, found: impl Into<String>, fix: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        state: state.into(),
        found: found.into(),
        fix: fix.map(str::to_owned),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Major and minor version of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn object() -> Check {
    if super::is_stub() {
        let fix = "cargo xtask setup && cargo build";
        check(
            "kernel program",
            State::Fail,
            "this binary was built without it",
            Some(fix),
        )
    } else {
        let found = format!("built in ({} KiB)", super::OBJECT.len() / 1024);
        check("kernel program", State::Ok, found, None)
    }
}

fn kernel(release: &str, version: Option<(u32, u32)>) -> Check {
    let name = "kernel";
    match version {
        None => check(
            name,
            State::Warn,
            format!("cannot read the version {release:?}"),
            None,
        ),
        Some(version) if version < (5, 15) => {
            check(name, State::Fail, release, Some("boot Linux 5.15 or later"))
        }
        Some(_) => check(name, State::Ok, release, None),
    }
}

fn hook(version: Option<(u32, u32)>) -> Check {
    if version >= Some((6, 6)) {
        check("attachment", State::Ok, "tcx", None)
    } else {
        let found = "clsact, because tcx needs Linux 6.6; if the daemon is killed, its filters stay until the next start";
        check("attachment", State::Warn, found, None)
    }
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    if fs::exists(path).unwrap_or_default() {
        check("BTF", State::Ok, path, None)
    } else {
        // The programs use no CO-RE relocations.
        check(
            "BTF",
            State::Warn,
            "the kernel has none; the programs load without it",
            None,
        )
    }
}

fn capabilities() -> Check {
    const NEEDED: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
    const SYS_ADMIN: u32 = 21;
    let missing: Vec<_> = NEEDED
        .iter()
        // CAP_SYS_ADMIN implies the two that were split off from it.
        .filter(|(bit, _)| !effective(*bit) && (*bit == 12 || !effective(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        check(
            "capabilities",
            State::Ok,
            "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN",
            None,
        )
    } else {
        let found = format!("missing {}", missing.join(", "));
        let fix = "run as root, or: setcap cap_bpf,cap_perfmon,cap_net_admin+ep $(which mtls)";
        check("capabilities", State::Fail, found, Some(fix))
    }
}

/// Whether this process has a capability, by its number.
fn effective(bit: u32) -> bool {
    let status = read("/proc/self/status");
    let all = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    all >> bit & 1 == 1
}

fn jit() -> Check {
    match read("/proc/sys/net/core/bpf_jit_enable").as_str() {
        "1" | "2" => check("JIT", State::Ok, "on", None),
        // Kernels that always JIT-compile may hide the switch.
        "" => check("JIT", State::Ok, "always on", None),
        _ => {
            let fix = "sysctl net.core.bpf_jit_enable=1";
            check(
                "JIT",
                State::Warn,
                "off: each packet costs about ten times as much",
                Some(fix),
            )
        }
    }
}

fn memlock(version: Option<(u32, u32)>) -> Check {
    let limits = read("/proc/self/limits");
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("unknown");
    if version >= Some((5, 11)) {
        let found = "no limit applies: BPF memory counts towards the cgroup";
        check("locked memory", State::Ok, found, None)
    } else if limit == "unlimited" {
        check("locked memory", State::Ok, limit, None)
    } else {
        check(
            "locked memory",
            State::Warn,
            format!("limited to {limit} bytes"),
            Some("ulimit -l unlimited"),
        )
    }
}

fn bpffs() -> Check {
    let mounted = read("/proc/self/mounts")
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("bpf"));
    if mounted {
        check("bpffs", State::Ok, "mounted", None)
    } else {
        // Nothing is pinned: only other tools, such as bpftool, need it.
        check("bpffs", State::Ok, "not mounted; not needed", None)
    }
}

/// Other programs that see packets before ours do, on a node with a running daemon.
fn chain() -> Check {
    let interfaces = nix::net::if_::if_nameindex();
    let mut ahead = Vec::new();
    for interface in interfaces.iter().flatten() {
        let Ok(name) = interface.name().to_str() else {
            continue;
        };
        // Kernels without tcx cannot be queried.
        for program in super::programs_ahead(name).unwrap_or_default() {
            ahead.push(format!("{program} on {name}"));
        }
    }
    match ahead.len() {
        0 => check(
            "other programs",
            State::Ok,
            "none sees packets before mtls does",
            None,
        ),
        more => {
            let shown = ahead[..more.min(3)].join(", ");
            let rest = if more > 3 {
                format!(" and {} more", more - 3)
            } else {
                String::new()
            };
            check(
                "other programs",
                State::Warn,
                format!(
                    "run before mtls, and may drop or redirect packets that it then does not see: {shown}{rest}"
                ),
                Some("bpftool net show lists them; restart mtls daemon to be first again"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_read_from_releases() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("5.15"), Some((5, 15)));
        assert_eq!(version("what"), None);
    }
}
