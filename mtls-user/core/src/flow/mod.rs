//! Connections: segments in, one classifier per connection, events out.
//!
//! A connection is identified by its two ends, whatever interface it was seen on. If its addresses
//! were translated on the way, its two halves have different ends, but the same pair of initial
//! sequence numbers and the same content; they are reported as one ([`View`]).
//!
//! Packets may be forged. What a receiver does not accept is not evidence: a RST at an unexpected
//! sequence number, a segment with a wrong checksum, a packet that leaves another pod's interface.
//! What a receiver may have accepted is never dropped: it is counted for the connection, or for a
//! separate one between the same ends.

mod api;
mod budget;
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
