//! What people read: tables and lines. What programs read is the types' own JSON.

mod edges;
mod flows;
mod text;

pub use edges::{edges, secured};
pub use flows::{flow_line, flows};
pub use text::{ago, safe, table};
