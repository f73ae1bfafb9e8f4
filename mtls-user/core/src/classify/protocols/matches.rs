//! A recogniser's answer.

/// A recogniser's answer for two prefixes; once it is decided, longer prefixes do not change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) enum Match {
    /// It is not this protocol.
    No,
    /// It may be.
    More,
    /// It is this protocol, which can still upgrade to TLS.
    Likely(&'static str),
    /// It is this protocol and TLS was requested; the server has not declined.
    Asked(&'static str),
    /// It is this protocol, TLS was requested and the server declined; the client has not
    /// continued.
    Declined(&'static str),
    /// It is this protocol, in plaintext.
    Yes(&'static str),
    /// It is this protocol, with its own encryption instead of TLS.
    Encrypted(&'static str),
    /// It is this protocol, and continued in plaintext after TLS was requested.
    Refused(&'static str),
    /// TLS begins at these positions.
    Upgrade(Turn),
    /// TLS begins at these positions, with its records inside packets of this protocol at first.
    Wrapped(Turn, Framing),
    /// Something else begins at these positions: this protocol only led there.
    Through(Turn),
    /// The same, and a password was sent in cleartext before.
    Secret(Turn),
}

/// The positions in the two streams at which something else begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) struct Turn {
    /// The protocol up to there.
    pub(in crate::classify) protocol: &'static str,
    /// Position in the client's stream.
    pub(in crate::classify) client: usize,
    /// Position in the server's stream; if that is not known, after what the client's segment
    /// acknowledges.
    pub(in crate::classify) server: Option<usize>,
}

/// How the records of a TLS handshake are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) enum Framing {
    /// In packets of type 0x12 (MS-TDS §2.2.6.5, "PRELOGIN").
    Tds,
}

impl Match {
    /// Whether longer prefixes do not change it; except for `No`.
    pub(in crate::classify) fn is_decided(self) -> bool {
        !matches!(self, Self::No | Self::More) && !self.is_named()
    }

    /// Whether the protocol is known, but not its further course.
    pub(in crate::classify) fn is_named(self) -> bool {
        matches!(self, Self::Likely(_) | Self::Asked(_) | Self::Declined(_))
    }

    /// `Yes` with `name`, or `No`.
    pub(super) fn of(found: bool, name: &'static str) -> Self {
        if found { Self::Yes(name) } else { Self::No }
    }
}
