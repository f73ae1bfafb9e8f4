//! A peer.
fn main() {}
