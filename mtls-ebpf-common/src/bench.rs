//! What the benchmark's programs are given.

/// How the sender's port is counted up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Rotation {
    /// Where the ports lie in the packet.
    pub offset: u32,
    /// The next port.
    pub next: u32,
    /// Ports, less one; a power of two less one.
    pub mask: u32,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding.
unsafe impl aya::Pod for Rotation {}
