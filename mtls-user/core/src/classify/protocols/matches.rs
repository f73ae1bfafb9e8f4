//! What a recogniser says.

/// What a recogniser says of two prefixes; once it is decided, longer prefixes do not change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) enum Match {
    /// It is not this protocol.
    No,
    /// It may be.
    More,
    /// It is this protocol, which can still turn to TLS.
    Likely(&'static str),
    /// It is this protocol and TLS was asked for; the server has not declined.
    Asked(&'static str),
    /// It is this protocol, TLS was asked for and the server declined; the client has not gone on.
    Declined(&'static str),
    /// It is this protocol, in plaintext.
    Yes(&'static str),
    /// It is this protocol, and encrypted, but not by TLS.
    Encrypted(&'static str),
    /// It is this protocol, and went on in plaintext after TLS was asked for.
    Refused(&'static str),
    /// TLS begins at these positions.
    Upgrade(Turn),
    /// TLS begins at these positions, its records in packets of this protocol at first.
    Wrapped(Turn, Framing),
    /// Something else begins at these positions: this was only the way there.
    Through(Turn),
    /// The same, and a password was shown in clear on that way.
    Secret(Turn),
}

/// Where in the two streams something else begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) struct Turn {
    /// What it was until there.
    pub(in crate::classify) protocol: &'static str,
    /// Position in the client's stream.
    pub(in crate::classify) client: usize,
    /// Position in the server's stream; where that is not known, behind what the client's segment
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
    /// Whether longer prefixes do not change it; `No` aside.
    pub(in crate::classify) fn is_decided(self) -> bool {
        !matches!(self, Self::No | Self::More) && !self.is_named()
    }

    /// Whether the protocol is known and what becomes of it is not.
    pub(in crate::classify) fn is_named(self) -> bool {
        matches!(self, Self::Likely(_) | Self::Asked(_) | Self::Declined(_))
    }

    /// `Yes` of `name`, or `No`.
    pub(super) fn of(found: bool, name: &'static str) -> Self {
        if found { Self::Yes(name) } else { Self::No }
    }
}
