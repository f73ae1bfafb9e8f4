//! `mtls doctor`.

use std::process::ExitCode;

use super::args::{Doctor, Format};
use crate::output::table;
use mtls_core::record::CheckState as State;
use mtls_node::kernel::doctor::checks;

pub(super) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    let checks = checks();
    match args.output {
        Format::Json => super::print_json_list(Some(mtls_node::pods::node_name(None)), &checks)?,
        Format::Jsonl => super::print_json_lines(&checks)?,
        Format::Table | Format::Wide => {
            let mut out = table(&["CHECK", "STATE", "FOUND", "FIX"]);
            for check in &checks {
                let state = if check.state == State::Fail {
                    "FAIL"
                } else {
                    check.state.as_str()
                };
                let fix = check.fix.clone().filter(|_| check.state != State::Ok);
                out.add_row([
                    check.name.clone(),
                    state.into(),
                    check.found.clone(),
                    fix.unwrap_or_default(),
                ]);
            }
            super::print(&format!("{}\n", out.trim_fmt()))?;
        }
    }
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
