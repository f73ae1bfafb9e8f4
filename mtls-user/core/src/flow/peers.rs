//! The two ends of a connection as one key, the same for both directions.

use crate::wire::Endpoint;

/// The two ends of a connection, in an order that is independent of the direction.
///
/// Borrowed: it is created for every packet, and copying recently written memory is slow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Peers<'a>([&'a Endpoint; 2]);

/// Which of two [`Peers`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    First = 0,
    Second = 1,
}

impl<'a> Peers<'a> {
    /// The ends of a segment from `src` to `dst`, and which of them sent it.
    pub(super) fn of(src: &'a Endpoint, dst: &'a Endpoint) -> (Self, End) {
        let order = |end: &Endpoint| (u128::from_ne_bytes(end.ip), end.port);
        if order(src) <= order(dst) {
            (Self([src, dst]), End::First)
        } else {
            (Self([dst, src]), End::Second)
        }
    }

    /// The same, from the result of [`Peers::to_owned`].
    pub(super) fn again([first, second]: &'a [Endpoint; 2]) -> Self {
        Self([first, second])
    }

    /// An owned copy of both ends.
    pub(super) fn to_owned(self) -> [Endpoint; 2] {
        self.0.map(|end| *end)
    }
}

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key() {
        let end = |last, port| Endpoint::new([10, 0, 0, last].into(), port);
        for (a, b) in [
            (end(1, 1), end(2, 1)),
            (end(1, 1), end(1, 2)),
            (end(9, 1), end(2, 7)),
        ] {
            let ((there, sender), (back, receiver)) = (Peers::of(&a, &b), Peers::of(&b, &a));
            assert_eq!((there, sender), (back, receiver.other()));
            let ends = there.to_owned();
            assert_eq!([ends[sender as usize], ends[receiver as usize]], [a, b]);
            assert_eq!(Peers::again(&ends), there);
        }
        // A socket connected to itself.
        let own = end(1, 1);
        assert_eq!(Peers::of(&own, &own).0.to_owned(), [own, own]);
    }
}
