//! What people read: tables and lines. What programs read is the types' own JSON.

mod edges;
mod flows;
mod status;
mod style;
mod text;

pub(crate) use edges::{edges, status as edge_status};
pub(crate) use flows::{flow_line, flows};
pub(crate) use status::status;
pub(crate) use style::Style;
pub(crate) use text::{ago, safe, table, took};
