//! QUIC as far as it is visible without keys (RFC 8999, 9000, 9369), and what the Initial keys
//! decrypt, which everybody on the path can derive (RFC 9001 §5.2).

pub mod frame;
pub mod header;
pub mod keys;
pub mod retry;

pub use frame::{Frame, frames};
pub use header::{ConnectionId, Kind, Long, Packet, Version, packets};
pub use keys::{InitialKeys, Scratch};
