//! Explains why the kernel refused an operation, with advice.

use aya::EbpfError;
use aya::programs::ProgramError;
use nix::errno::Errno;

/// Advice for a missing privilege.
const PRIVILEGE: &str = "run as root or give CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON";
/// Where to find more information.
const DOCTOR: &str = "`mtls doctor` says what is missing";

/// The error number at the root of an error.
pub fn errno(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let mut inner = Some(error);
    let mut found = None;
    while let Some(error) = inner {
        let io = error.downcast_ref::<std::io::Error>();
        let code = io.and_then(std::io::Error::raw_os_error);
        found = code.map(Errno::from_raw).or(found);
        found = error.downcast_ref::<Errno>().copied().or(found);
        inner = error.source();
    }
    found
}

/// The interface disappeared in the meantime.
pub fn is_gone(error: &anyhow::Error) -> bool {
    matches!(errno(error.as_ref()), Some(Errno::ENODEV | Errno::ENXIO))
}

/// Loading failed as a whole.
pub(super) fn explain(error: EbpfError, what: &str) -> anyhow::Error {
    match errno(&error) {
        Some(Errno::EPERM | Errno::EACCES) => anyhow::anyhow!("{what}: {PRIVILEGE} ({DOCTOR})"),
        _ => anyhow::Error::new(error).context(format!("{what} ({DOCTOR})")),
    }
}

/// A program was rejected: only the end of the verifier's log says why.
pub(super) fn program(error: ProgramError, name: &str) -> anyhow::Error {
    const LINES: usize = 3;
    let what = format!("load the kernel program {name}");
    let code = errno(&error);
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return anyhow::Error::new(error).context(format!("{what} ({DOCTOR})"));
    };
    let log = verifier_log.to_string();
    let mut last: Vec<&str> = log
        .lines()
        .rev()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_statistic(line))
        .take(LINES)
        .collect();
    // Without the privilege, the call is rejected before the verifier runs.
    if last.is_empty() && matches!(code, Some(Errno::EPERM | Errno::EACCES)) {
        return anyhow::anyhow!("{what}: {PRIVILEGE} ({DOCTOR})");
    }
    last.reverse();
    anyhow::anyhow!(
        "{what} ({DOCTOR}): {io_error}; the verifier ended with: {}",
        last.join(" | ")
    )
}

/// Lines that the verifier writes after the reason.
fn is_statistic(line: &str) -> bool {
    ["verification time", "stack depth", "processed "]
        .iter()
        .any(|begin| line.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_under_whatever_was_put_around_it() {
        let io = std::io::Error::from_raw_os_error(24);
        let error = anyhow::Error::new(io).context("attach").context("watch");
        assert_eq!(errno(error.as_ref()), Some(Errno::EMFILE));
        assert!(!is_gone(&error));
        let gone = anyhow::Error::new(Errno::ENODEV).context("attach");
        assert!(is_gone(&gone));
    }
}
