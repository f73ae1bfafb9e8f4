//! Parameters of the benchmark's programs.

/// How the sender's port is incremented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Rotation {
    /// Offset of the ports in the packet.
    pub offset: u32,
    /// The next port.
    pub next: u32,
    /// Number of ports, minus one; a power of two minus one.
    pub mask: u32,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding.
unsafe impl aya::Pod for Rotation {}
