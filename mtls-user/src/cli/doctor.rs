//! `mtls doctor`.

use std::process::ExitCode;

use super::args::Doctor;
use crate::output::{self, Format};
use mtls_core::record::CheckState as State;
use mtls_node::kernel::doctor::checks;

pub(super) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    let checks = checks();
    let text = match &args.format {
        Format::Table | Format::Wide => output::doctor(&checks),
        format => {
            let node = Some(mtls_node::pods::node_name(None));
            output::document(&super::list(node, &checks), &checks, format)?
        }
    };
    super::print(&text)?;
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
