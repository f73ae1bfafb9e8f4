//! `mtls flows`.

use std::process::ExitCode;

use mtls_core::record::{FlowList, FlowRecord};
use serde::Serialize;

use super::args::Flows;
use crate::output::{self, Listing, Look, Screen, Sheet, Style};
use crate::source::{Source, block_on};

/// The answer, as it is to be shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(FlowList);

impl Listing for Shown {
    type Item = FlowRecord;

    fn items(&mut self) -> &mut Vec<FlowRecord> {
        &mut self.0.items
    }

    fn sheet(&self, look: Look) -> Sheet {
        output::flows(&self.0, look, Style::of_locale())
    }

    fn name(flow: &FlowRecord) -> String {
        output::flow_name(flow)
    }

    fn line(flow: &FlowRecord) -> Option<String> {
        Some(output::flow_line(flow))
    }
}

pub(super) fn run(args: &Flows, whom: &Source) -> anyhow::Result<ExitCode> {
    let mut list = block_on(args.select.source(whom)?.flows())?;
    list.items.sort_by_key(|flow| flow.last_seen);
    let filter = args.select.with(&args.either);
    super::filter(&filter, &mut list.items, list.generated, "connection");
    let code = super::answered(list.nodes.as_ref());
    let output = &args.output;
    super::print(&output::list(
        Shown(list),
        &output.format,
        !output.no_headers,
        output.sort_by.as_deref(),
        Screen::of_stdout(),
    )?)?;
    Ok(code)
}
