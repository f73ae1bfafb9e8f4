//! `mtls version`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::args::VersionOf;
use crate::output::{self, Format, safe};
use crate::source::{Source, block_on};

/// The versions.
#[derive(Serialize)]
struct Versions {
    schema: u32,
    client: &'static str,
    /// Of several nodes every version that one has; null where no daemon answers.
    daemon: Option<String>,
}

pub(super) fn run(args: &VersionOf, whom: &Source) -> anyhow::Result<ExitCode> {
    let daemon = block_on(whom.statuses()).map(|(statuses, _)| {
        let versions: BTreeSet<_> = statuses.iter().map(|status| &*status.version).collect();
        versions.into_iter().collect::<Vec<_>>().join(", ")
    });
    let versions = Versions {
        schema: mtls_core::record::SCHEMA,
        client: env!("CARGO_PKG_VERSION"),
        daemon: daemon.as_ref().ok().cloned(),
    };
    let text = match &args.format {
        Format::Table => {
            let daemon = match &daemon {
                Ok(versions) => safe(versions).into_owned(),
                Err(error) => format!("unknown: {}", safe(&format!("{error:#}"))),
            };
            format!("client: {}\ndaemon: {daemon}\n", versions.client)
        }
        format => output::document(&versions, std::slice::from_ref(&versions), format)?,
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
