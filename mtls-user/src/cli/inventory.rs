//! `mtls inventory`.

use std::process::ExitCode;

use mtls_core::record::{
    CertificateList, CertificateSeen, FlowList, Inventory, InventoryItem, List,
};
use serde::Serialize;

use super::args::Inventory as Args;
use crate::inventory;
use crate::output::{self, Format, Listing, Look, Screen, Sheet};
use crate::source::{Source, block_on};
use crate::usage::wrong;

/// The workloads, as they are to be shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Workloads(Inventory);

impl Listing for Workloads {
    type Item = InventoryItem;

    fn items(&mut self) -> &mut Vec<InventoryItem> {
        &mut self.0.items
    }

    fn sheet(&self, look: Look) -> Sheet {
        output::inventory(&self.0, look)
    }

    fn name(item: &InventoryItem) -> String {
        output::item_name(item)
    }

    fn bill(&self) -> Option<serde_json::Value> {
        Some(inventory::cyclonedx::bill(&self.0))
    }
}

/// The certificates, as they are to be shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Certificates(CertificateList);

impl Listing for Certificates {
    type Item = CertificateSeen;

    fn items(&mut self) -> &mut Vec<CertificateSeen> {
        &mut self.0.list.items
    }

    fn sheet(&self, look: Look) -> Sheet {
        output::certificates(&self.0, look)
    }

    fn name(seen: &CertificateSeen) -> String {
        seen.certificate.sha256.to_string()
    }
}

pub(super) fn run(args: &Args, whom: &Source) -> anyhow::Result<ExitCode> {
    if args.certificates && args.output.format == Format::Cyclonedx {
        return wrong(
            "the bill of materials contains workloads and certificates: leave out --certificates",
        );
    }
    let mut list: FlowList = block_on(args.select.source(whom)?.flows())?;
    let filter = args.select.with(&args.either);
    super::filter(&filter, &mut list.items, list.generated, "connection");
    let made = inventory::of(list, args.policy.as_ref());
    let code = super::answered(made.nodes.as_ref());
    let output = &args.output;
    let (headers, sort_by) = (!output.no_headers, output.sort_by.as_deref());
    let screen = Screen::of_stdout();
    let text = if args.certificates {
        let list = CertificateList {
            list: List::new(made.node, made.generated, made.certificates),
            not_visible: made.not_visible,
        };
        output::list(Certificates(list), &output.format, headers, sort_by, screen)?
    } else {
        output::list(Workloads(made), &output.format, headers, sort_by, screen)?
    };
    super::print(&text)?;
    Ok(code)
}
