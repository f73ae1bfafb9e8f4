//! `mtls doctor`.

use std::process::ExitCode;

use super::args::Doctor;
use crate::cluster;
use crate::output::{self, Format, Screen};
use crate::source::{Source, block_on};
use mtls_core::record::CheckState as State;
use mtls_node::kernel::doctor::checks;

pub(super) fn run(args: &Doctor, whom: &Source) -> anyhow::Result<ExitCode> {
    let (checks, node) = match whom {
        Source::Cluster(options, _) => {
            let checks = block_on(async { Ok(cluster::checks(options).await) })?;
            (checks, None)
        }
        _ => (checks(), Some(mtls_node::pods::node_name(None))),
    };
    let text = match &args.format {
        Format::Table => output::doctor(&checks, Screen::of_stdout()),
        format => output::document(&super::list(node, &checks), &checks, format)?,
    };
    super::print(&text)?;
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
