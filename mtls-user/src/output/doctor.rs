//! The table of `mtls doctor`.

use super::{Screen, Sheet, safe, safe_long};
use mtls_core::record::{Check, CheckState};

/// The checks as a table; with a fix where one is needed.
pub(crate) fn doctor(checks: &[Check], screen: Screen) -> String {
    let mut out = Sheet::new(vec!["CHECK", "STATE", "FOUND", "FIX"]);
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
        let cells = [&check.name, &*state, &check.found, fix.unwrap_or_default()];
        out.row(cells.map(safe_long).to_vec(), None);
    }
    out.text(true, screen)
}
