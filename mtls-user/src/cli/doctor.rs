//! `mtls doctor`.

use std::process::ExitCode;

use super::args::{Doctor, Format};
use crate::output;
use mtls_core::record::CheckState as State;
use mtls_node::kernel::doctor::checks;

pub(super) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    let checks = checks();
    match args.output {
        Format::Json => super::print_json_list(Some(mtls_node::pods::node_name(None)), &checks)?,
        Format::Jsonl => super::print_json_lines(&checks)?,
        Format::Table | Format::Wide => super::print(&output::doctor(&checks))?,
    }
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
