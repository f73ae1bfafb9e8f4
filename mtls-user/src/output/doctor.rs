//! The table of `mtls doctor`.

use super::{safe, table};
use mtls_core::record::{Check, CheckState};

/// The checks as a table; what to do is said where something is amiss.
pub(crate) fn doctor(checks: &[Check]) -> String {
    let mut out = table(&["CHECK", "STATE", "FOUND", "FIX"]);
    for check in checks {
        let state = if check.state == CheckState::Fail {
            "FAIL".into()
        } else {
            safe(check.state.as_str())
        };
        let fix = check
            .fix
            .as_deref()
            .filter(|_| check.state != CheckState::Ok);
        out.add_row([
            safe(&check.name),
            state,
            safe(&check.found),
            safe(fix.unwrap_or_default()),
        ]);
    }
    format!("{}\n", out.trim_fmt())
}
