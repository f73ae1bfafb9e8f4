//! What people read: tables and lines. What programs read is the types' own JSON.

mod changes;
mod doctor;
mod edges;
mod flow_rows;
mod flows;
mod format;
mod inventory;
mod path;
mod sheet;
mod status;
mod style;
mod text;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

pub(crate) use changes::changes;
pub(crate) use doctor::doctor;
pub(crate) use edges::{
    COLUMNS as EDGE_COLUMNS, at_port, cells as edge_cells, edge_name, edges, name as edge_end,
    path as end_path, port as edge_port, sort_edges, summary as edges_summary,
};
pub(crate) use flow_rows::{flows, tap_header, tap_line};
pub(crate) use flows::{classified, flow_line, flow_name};
pub(crate) use format::{DOCUMENT, Format, LIST, Listing, Look, document, list, spelled};
pub(crate) use inventory::{certificates, inventory, item_name};
pub(crate) use sheet::{Screen, Sheet};
pub(crate) use status::status;
pub(crate) use style::{Style, exempt, verdict};
use text::table;
pub(crate) use text::{ago, count, json, safe, safe_long, took};
