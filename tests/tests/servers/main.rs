//! Servers that people run, asked by their own clients: what is in clear, what turns to TLS in
//! band, and who is asked for a certificate. The daemon says it, and `mtls classify` the same.

mod databases;
mod mail;
mod messages;
mod others;
mod web;

/// The user that servers run as which refuse to be root's.
const NOBODY: u32 = 65534;
/// The versions of TLS.
const VERSIONS: [&str; 2] = ["1.2", "1.3"];
