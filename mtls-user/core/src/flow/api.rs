//! The flow table's parameters, and what it reports.

use std::time::Duration;

use crate::record::Unseen;

/// Limits on how much is remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections; beyond this, the one that has been idle longest is evicted, ended ones first.
    pub flows: usize,
    /// Bytes that undecided connections may hold together, and undecided UDP flows likewise; beyond
    /// this, the oldest are evicted, those that nobody has answered first.
    pub undecided: usize,
    /// A connection that has been idle for this long is closed.
    pub idle: Duration,
    /// A UDP flow that has been idle for this long has ended.
    pub idle_datagrams: Duration,
    /// How often the kernel rechecks a flow that is done; zero means never.
    pub recheck: Duration,
    /// For how long an ended connection still absorbs its late packets.
    pub linger: Duration,
    /// Sessions remembered so that resumptions can be recognised.
    pub sessions: usize,
    /// Whether a TLS 1.3 resumption gets the verdict of its peers' last full handshake
    /// ([`Sessions::new`](crate::classify::Sessions::new)).
    pub inherit: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 262_144,
            undecided: 256 << 20,
            // Longer than TCP's usual keep-alive of two hours.
            idle: Duration::from_mins(150),
            idle_datagrams: Duration::from_secs(30),
            recheck: Duration::ZERO,
            linger: Duration::from_secs(10),
            sessions: 65_536,
            inherit: true,
        }
    }
}

/// Something that was not seen, of connections that cannot be identified individually.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// What was not seen: [`Unseen::Samples`] or [`Unseen::Fragments`].
    pub what: Unseen,
    /// The interface where it happened, if known.
    pub link: Option<u32>,
    /// The two addresses between which it happened, if known; IPv4 as `::ffff:a.b.c.d`.
    pub between: Option<[[u8; 16]; 2]>,
    /// Time range, in nanoseconds as in [`Segment::time`](crate::wire::Segment): not before this …
    pub since: u64,
    /// … and not after this.
    pub until: u64,
}
