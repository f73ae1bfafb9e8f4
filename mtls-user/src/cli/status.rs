//! `mtls status`.

use std::path::Path;
use std::process::ExitCode;

use super::args::Status as Args;
use crate::output::{self, Format};
use crate::source::{Source, block_on};
use mtls_core::record::Status;

pub(super) fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    let status = block_on(Source::Node(socket.into()).status())?;
    if args.live {
        return Ok(ExitCode::SUCCESS);
    }
    if args.ready {
        return ready(&status);
    }
    super::print(&match &args.format {
        Format::Table | Format::Wide => output::status(&status),
        format => output::document(&status, std::slice::from_ref(&status), format)?,
    })?;
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
