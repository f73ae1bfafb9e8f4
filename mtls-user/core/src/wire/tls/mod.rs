//! TLS as far as it is visible without keys: record headers, and unencrypted handshake messages.

pub mod certificate;
pub mod hello;
pub mod ja4;
pub mod names;
pub mod record;

pub use certificate::Certificate;
pub use hello::{ClientHello, ServerHello};
pub use ja4::{Carrier, Ja4};
pub use record::{ContentType, RecordHeader};
