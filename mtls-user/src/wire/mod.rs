//! What is on the wire: pure parsers, no I/O, no clock.
//!
//! Each parser is a function over a prefix with three outcomes ([`Parse`]); none panics on any input.

pub mod segment;

pub use segment::{Direction, Endpoint, Segment, TcpFlags};
