//! What the table is asked for, and what it says.

use std::time::Duration;

use crate::record::Unseen;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections; beyond it, the one that was quiet longest goes, an ended one first.
    pub flows: usize,
    /// A connection that was quiet for so long is closed.
    pub idle: Duration,
    /// A flow of datagrams that was quiet for so long is over.
    pub idle_datagrams: Duration,
    /// How often the kernel samples a flow again of which it has sampled enough; zero is never.
    pub recheck: Duration,
    /// An ended connection still swallows its late packets for so long.
    pub linger: Duration,
    /// Sessions remembered for the sake of resumptions.
    pub sessions: usize,
    /// A TLS 1.3 resumption is given the verdict of its peers' last full handshake
    /// ([`Sessions::new`](crate::classify::Sessions::new)).
    pub inherit: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 262_144,
            // Above TCP's usual keep-alive of two hours.
            idle: Duration::from_mins(150),
            idle_datagrams: Duration::from_secs(30),
            recheck: Duration::ZERO,
            linger: Duration::from_secs(10),
            sessions: 65_536,
            inherit: true,
        }
    }
}

/// Something that was not seen of connections that cannot be named one by one.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// What it was: [`Unseen::Samples`] or [`Unseen::Fragments`].
    pub what: Unseen,
    /// The interface that it happened on, where that is known.
    pub link: Option<u32>,
    /// The two addresses that it happened between, where they are known; IPv4 as `::ffff:a.b.c.d`.
    pub between: Option<[[u8; 16]; 2]>,
    /// When, in nanoseconds as in [`Segment::time`](crate::wire::Segment): not before this …
    pub since: u64,
    /// … and not after this.
    pub until: u64,
}
