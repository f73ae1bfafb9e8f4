//! `mtls status`.

use std::process::ExitCode;

use super::args::Status as Args;
use anyhow::Context;

use crate::output::{self, Format};
use crate::source::{Source, block_on};
use mtls_core::record::Status;

pub(super) fn run(args: &Args, whom: &Source) -> anyhow::Result<ExitCode> {
    if matches!(whom, Source::Cluster(..)) {
        return of_all(args, whom);
    }
    let status = block_on(whom.status())?;
    if args.live {
        return Ok(ExitCode::SUCCESS);
    }
    if args.ready {
        return ready(&status);
    }
    super::print(&match &args.format {
        Format::Table => output::status(&status),
        format => output::document(&status, std::slice::from_ref(&status), format)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The status of every node, one after the other.
fn of_all(args: &Args, whom: &Source) -> anyhow::Result<ExitCode> {
    let (statuses, nodes) = block_on(whom.statuses())?;
    if !args.live && !args.ready {
        super::print(&match &args.format {
            Format::Table => {
                let each = statuses.iter().map(|status| {
                    let node = status.node.as_deref().unwrap_or("?");
                    format!("node {}\n{}", output::safe(node), output::status(status))
                });
                each.collect::<Vec<_>>().join("\n")
            }
            format => output::document(&super::list(None, &statuses), &statuses, format)?,
        })?;
    }
    let code = super::answered(nodes.as_ref());
    if args.ready {
        for status in &statuses {
            ready(status).with_context(|| status.node.as_deref().unwrap_or("?").to_owned())?;
        }
    }
    Ok(code)
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
