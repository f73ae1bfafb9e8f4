//! `mtls doctor`.

use std::process::ExitCode;

use super::args::{Doctor, Format};
use crate::output::table;
use mtls_node::kernel::doctor::{State, checks};

pub(super) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    let checks = checks();
    match args.output {
        Format::Json => super::print_json(&checks, false)?,
        Format::Jsonl => super::print_json(&checks, true)?,
        Format::Table | Format::Wide => {
            let mut out = table(&["CHECK", "STATE", "FOUND", "MEND"]);
            for check in &checks {
                let state = match check.state {
                    State::Ok => "ok",
                    State::Warn => "warn",
                    State::Fail => "FAIL",
                };
                out.add_row([
                    check.name.clone(),
                    state.into(),
                    check.found.clone(),
                    check.fix.clone().unwrap_or_default(),
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
