//! The wire formats: pure parsers, without I/O or a clock.
//!
//! Every source of packets produces [`Segment`]s; [`tls`] reads TLS records and unencrypted
//! handshake messages.

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
