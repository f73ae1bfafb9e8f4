//! Whether this process may use the bpf system call, and otherwise what forbids it.

use mtls_core::record::{Check, CheckState as State};
use nix::{errno::Errno, libc};

use super::{check, effective, read};

/// What can forbid it.
struct Limits {
    /// CAP_BPF, or CAP_SYS_ADMIN, is effective.
    is_capable: bool,
    /// `kernel.unprivileged_bpf_disabled`; empty if it does not exist.
    unprivileged: String,
    /// A seccomp filter applies to this thread.
    is_filtered: bool,
    /// The kernel's lockdown mode; empty or `none` if there is no lockdown.
    lockdown: String,
}

/// Tries it: creates a map of one element and drops it immediately.
pub(super) fn bpf() -> Check {
    let status = read("/proc/thread-self/status");
    let limits = Limits {
        is_capable: [39, 21].into_iter().any(effective),
        unprivileged: read("/proc/sys/kernel/unprivileged_bpf_disabled"),
        is_filtered: status
            .lines()
            .filter_map(|line| line.strip_prefix("Seccomp:"))
            .any(|mode| mode.trim() == "2"),
        lockdown: lockdown(&read("/sys/kernel/security/lockdown")),
    };
    judge(try_it(), &limits)
}

fn judge(result: Result<(), Errno>, limits: &Limits) -> Check {
    let name = "bpf system call";
    let Err(error) = result else {
        return check(name, State::Ok, "allowed", None);
    };
    let mut causes = Vec::new();
    let mut fix = None;
    if !matches!(&*limits.lockdown, "" | "none") {
        causes.push(format!("the kernel is locked down ({})", limits.lockdown));
        fix = Some("boot without lockdown=, or with lockdown=integrity");
    }
    if limits.is_filtered {
        causes.push("a seccomp profile applies to this process".to_owned());
        fix = Some(
            "allow bpf in the seccomp profile (Kubernetes: seccompProfile: RuntimeDefault allows it with CAP_BPF)",
        );
    }
    if !limits.is_capable {
        causes.push(match &*limits.unprivileged {
            "" | "0" => "CAP_BPF is missing".to_owned(),
            value => format!("CAP_BPF is missing, and kernel.unprivileged_bpf_disabled is {value}"),
        });
        fix = Some("run as root or give CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
    }
    if causes.is_empty() {
        causes.push(
            "a security module (AppArmor, SELinux) may forbid it, or the kernel has no BPF"
                .to_owned(),
        );
    }
    let found = format!("refused ({error}): {}", causes.join("; "));
    check(name, State::Fail, found, fix)
}

/// The mode in brackets: `none [integrity] confidentiality`.
fn lockdown(modes: &str) -> String {
    let inside = modes
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or_else(String::new, |(mode, _)| mode.to_owned())
}

fn try_it() -> Result<(), Errno> {
    const BPF_MAP_CREATE: libc::c_int = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    // The beginning of `union bpf_attr`: type, key size, value size, number of elements. The kernel
    // treats omitted bytes as zeros.
    let attributes: [u32; 4] = [BPF_MAP_TYPE_ARRAY, 4, 8, 1];
    // SAFETY: the attributes have the stated length, and outlive the call.
    let map = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_CREATE,
            (&raw const attributes).cast::<libc::c_void>(),
            size_of_val(&attributes),
        )
    };
    let map = Errno::result(map)?;
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { libc::close(map as libc::c_int) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn limits() -> Limits {
        Limits {
            is_capable: true,
            unprivileged: "2".into(),
            is_filtered: false,
            lockdown: "none".into(),
        }
    }

    #[test]
    fn whoever_forbids_it_is_named() {
        let found = |limits: &Limits| judge(Err(Errno::EPERM), limits).found;
        assert_eq!(judge(Ok(()), &limits()).found, "allowed");
        let text = found(&Limits {
            is_capable: false,
            ..limits()
        });
        assert!(
            text.contains("kernel.unprivileged_bpf_disabled is 2"),
            "{text}"
        );
        let text = found(&Limits {
            is_filtered: true,
            ..limits()
        });
        assert!(text.contains("seccomp"), "{text}");
        let text = found(&Limits {
            lockdown: "confidentiality".into(),
            ..limits()
        });
        assert!(text.contains("locked down (confidentiality)"), "{text}");
        assert!(found(&limits()).contains("AppArmor"));
        assert_eq!(lockdown("none [integrity] confidentiality"), "integrity");
        assert_eq!(lockdown(""), "");
    }

    /// A filter applies to the thread that installs it, and to no other.
    #[test]
    fn a_seccomp_profile_without_bpf_is_seen() {
        let profile = || -> io::Result<()> {
            const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
            let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
            let step = |code: u32, jt, jf, k| libc::sock_filter {
                code: code as u16,
                jt,
                jf,
                k,
            };
            // The system call's number comes first.
            let mut steps = [
                step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
                step(
                    libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                    0,
                    1,
                    libc::SYS_bpf as u32,
                ),
                step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
                step(libc::BPF_RET | libc::BPF_K, 0, 0, ALLOW),
            ];
            let program = libc::sock_fprog {
                len: steps.len() as u16,
                filter: steps.as_mut_ptr(),
            };
            // SAFETY: the program and its steps outlive the calls.
            let done = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                    | libc::prctl(
                        libc::PR_SET_SECCOMP,
                        libc::SECCOMP_MODE_FILTER,
                        &raw const program,
                    )
            };
            Errno::result(done).map(drop).map_err(io::Error::from)
        };
        let seen = std::thread::spawn(move || profile().map(|()| bpf())).join();
        let seen = seen
            .expect("the thread ends")
            .expect("a filter is installed");
        assert_eq!(seen.state, State::Fail);
        assert!(seen.found.contains("seccomp profile"), "{seen:?}");
    }
}
