//! What is on the wire: pure parsers, no I/O, no clock.
//!
//! No parser is written yet: [`Segment`] is what they and the flow table will deal in.

pub mod segment;

pub use segment::{Direction, Endpoint, Segment, TcpFlags};
