//! What is on the wire: pure parsers, no I/O, no clock.
//!
//! [`Segment`] is what every source of packets becomes; [`tls`] reads TLS records and the
//! handshake messages that are in clear.

pub mod cursor;
pub mod datagram;
pub mod dtls;
pub mod quic;
mod sample;
pub mod segment;
pub mod text;
pub mod tls;
pub mod unread;

pub use datagram::Datagram;
pub use segment::{Checksum, Direction, Endpoint, Segment, Sum, TcpFlags};
pub use unread::{Unread, What};
