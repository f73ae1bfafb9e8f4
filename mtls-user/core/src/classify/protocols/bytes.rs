//! Sets of first bytes, and shapes of first messages.

use super::{Match, Turn};
use crate::wire::tls::record::may_be_handshake;

/// The bytes with which a client may begin.
#[derive(Clone, Copy)]
pub(in crate::classify) struct First([u64; 4]);

impl First {
    /// Any: the server's first bytes decide, or many bytes may come first.
    pub(super) const ANY: Self = Self([u64::MAX; 4]);
    /// Letters, digits, and other identifier characters.
    pub(super) const WORD: Self = Self::range(b'0', b'9')
        .or(Self::range(b'A', b'Z'))
        .or(Self::range(b'a', b'z'));

    /// These.
    pub(super) const fn of(bytes: &[u8]) -> Self {
        let mut set = [0; 4];
        let mut i = 0;
        while i < bytes.len() {
            set[(bytes[i] >> 6) as usize] |= 1 << (bytes[i] & 63);
            i += 1;
        }
        Self(set)
    }

    /// From `low` to `high`.
    pub(super) const fn range(low: u8, high: u8) -> Self {
        let mut set = [0; 4];
        let mut byte = low;
        loop {
            set[(byte >> 6) as usize] |= 1 << (byte & 63);
            if byte == high {
                return Self(set);
            }
            byte += 1;
        }
    }

    /// The union of both.
    pub(super) const fn or(self, other: Self) -> Self {
        let mut set = self.0;
        let mut i = 0;
        while i < set.len() {
            set[i] |= other.0[i];
            i += 1;
        }
        Self(set)
    }

    /// Whether `byte` is one of them.
    pub(super) const fn has(self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] & 1 << (byte & 63) != 0
    }
}

/// Whether `bytes` have a form, as far as they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) enum Shape {
    No,
    More,
    Yes,
}

impl Shape {
    /// `Yes` if `found`.
    pub(super) fn then(self, found: Match) -> Match {
        match self {
            Self::No => Match::No,
            Self::More => Match::More,
            Self::Yes => found,
        }
    }
}

/// Whether `bytes` begin with `prefix`, as far as they go.
pub(in crate::classify) fn starts(bytes: &[u8], prefix: &[u8]) -> Shape {
    let n = bytes.len().min(prefix.len());
    if bytes[..n] != prefix[..n] {
        Shape::No
    } else if n < prefix.len() {
        Shape::More
    } else {
        Shape::Yes
    }
}

/// Whether `bytes` begin with `pattern`, in which `None` matches any byte.
pub(in crate::classify) fn shape(bytes: &[u8], pattern: &[Option<u8>]) -> Shape {
    let differs = |(byte, wanted): (&u8, &Option<u8>)| wanted.is_some_and(|w| w != *byte);
    if bytes.iter().zip(pattern).any(differs) {
        Shape::No
    } else if bytes.len() < pattern.len() {
        Shape::More
    } else {
        Shape::Yes
    }
}

/// What follows a request for TLS that ends at `client` in that side's stream, and whose answer
/// ends at `server` in the other's, if that is known.
pub(in crate::classify) fn follows(
    bytes: &[u8],
    client: usize,
    protocol: &'static str,
    server: Option<usize>,
) -> Match {
    let rest = bytes.get(client..).unwrap_or_default();
    match (may_be_handshake(rest, 1), rest.len()) {
        (true, 6..) => Match::Upgrade(Turn {
            protocol,
            client,
            server,
        }),
        (true, _) => Match::Asked(protocol),
        (false, _) => Match::Refused(protocol),
    }
}
