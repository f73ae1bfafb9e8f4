//! What people read: tables and lines. What programs read is the types' own JSON.

mod doctor;
mod edges;
mod flows;
mod status;
mod style;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use doctor::doctor;
pub(crate) use edges::{edges, status as edge_status};
pub(crate) use flows::{flow_line, flows};
pub(crate) use status::status;
pub(crate) use style::Style;
use text::table;
pub(crate) use text::{ago, safe, took};
