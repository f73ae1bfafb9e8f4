//! `mtls edges`.

use std::process::ExitCode;

use super::args::{Edges, Format};
use super::client;
use crate::output::{self, Style};
use mtls_core::record::{EdgeList, EdgeRecord};

pub(super) fn run(args: &Edges) -> anyhow::Result<ExitCode> {
    let mut list: EdgeList = client::block_on(client::get(&args.socket.socket, "/v1/edges"))?;
    // What was seen at the client's end and at the server's is one edge to whoever asks the node.
    list.items = EdgeRecord::fold(list.items);
    if let Some(namespace) = args.namespace.as_deref() {
        list.items.retain(|edge| {
            [&edge.src, &edge.dst]
                .iter()
                .any(|end| end.namespace() == Some(namespace))
        });
    }
    match args.output {
        Format::Json => super::print_json_one(&list, true)?,
        Format::Jsonl => super::print_json_lines(&list.items)?,
        Format::Table | Format::Wide => {
            let wide = args.output == Format::Wide;
            super::print(&output::edges(&list, wide, Style::of_locale()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
