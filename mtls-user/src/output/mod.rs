//! What people read: tables and lines. What programs read is the types' own JSON.

mod edges;
mod flows;
mod text;

pub(crate) use edges::{edges, secured};
pub(crate) use flows::{flow_line, flows};
pub(crate) use text::{ago, safe, table};
