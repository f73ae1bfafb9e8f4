//! Connections: segments in, one classifier per connection, events out.
//!
//! A connection is known by its two ends whatever interface it was seen on. Where addresses were
//! translated on the way, its two halves have different ends, the same pair of initial sequence
//! numbers and the same content, and are reported as one ([`View`]).
//!
//! Who sends packets may forge them. What a receiver does not take is no evidence: a reset at an
//! unexpected sequence number, a segment with a wrong checksum, a packet that comes out of another
//! pod's interface. What a receiver may have taken is never dropped: it is part of the connection,
//! or of one beside it with the same ends.

mod api;
mod closing;
mod content;
mod datagrams;
mod fit;
mod gaps;
mod join;
mod links;
mod missing;
mod peers;
mod place;
mod slots;
mod state;
mod stream;
mod table;
mod unread;
mod view;

#[cfg(test)]
mod tests;

pub use crate::record::{Event, FlowStats};
pub use api::{Limits, Loss};
pub use datagrams::{DatagramTable, DatagramView};
pub use table::FlowTable;
pub use view::{Handle, View};
