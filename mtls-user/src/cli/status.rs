//! `mtls status`.

use std::process::ExitCode;

use super::args::{Format, Status as Args};
use super::client;
use crate::output;
use mtls_core::record::Status;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status: Status = client::block_on(client::get(&args.socket.socket, "/v1/status"))?;
    if args.live {
        return Ok(ExitCode::SUCCESS);
    }
    if args.ready {
        return ready(&status);
    }
    match args.output {
        Format::Json => super::print_json_one(&status, true)?,
        Format::Jsonl => super::print_json_one(&status, false)?,
        Format::Table | Format::Wide => super::print(&output::status(&status))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An interface that should be watched and is not makes everything behind it invisible: whoever
/// rolls out a new version wants to stop there.
fn ready(status: &Status) -> anyhow::Result<ExitCode> {
    let each = status.kernel.not_attached.iter();
    let each: Vec<_> = each
        .map(|interface| format!("{}: {}", interface.name, interface.reason))
        .collect();
    anyhow::ensure!(each.is_empty(), "not attached to {}", each.join("; "));
    Ok(ExitCode::SUCCESS)
}
