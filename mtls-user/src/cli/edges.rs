//! `mtls edges`.

use std::process::ExitCode;

use super::args::{Edges, Format};
use super::client;
use crate::output;
use mtls_node::edges::EdgeRow;

pub(super) fn run(args: &Edges) -> anyhow::Result<ExitCode> {
    let mut rows: Vec<EdgeRow> = client::block_on(client::get(&args.socket.socket, "/v1/edges"))?;
    if let Some(namespace) = &args.namespace {
        rows.retain(|row| row.src_namespace == *namespace || row.dst_namespace == *namespace);
    }
    match args.output {
        Format::Json => super::print_json(&rows, false)?,
        Format::Jsonl => super::print_json(&rows, true)?,
        Format::Table | Format::Wide => {
            let wide = args.output == Format::Wide;
            super::print(&output::edges(&rows, wide, mtls_node::clock::now()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
