//! The interfaces that a connection crosses, and which side is behind which.
//!
//! A packet that a pod sends leaves that pod's interface. A packet that claims to be the server's
//! but leaves the client's or a third pod's interface is therefore not evidence.

use crate::classify::Side;
use crate::wire::Direction;

/// Interfaces remembered per flow, or half of one: a pod's at either end, and some more.
const LINKS: usize = 4;

/// The interfaces of one flow, by index; unused entries are zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    all: [u32; LINKS],
    /// Per side, the index in `all` of the interface that its packets leave, plus one.
    home: [u8; 2],
    /// Per side, whether the connection was seen at its pod's interface.
    pub(super) seen_at: [bool; 2],
}

impl Links {
    /// All of them.
    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        self.all.into_iter().filter(|link| *link != 0)
    }

    /// The interface that a side's packets leave.
    pub(super) fn home(&self, side: Side) -> Option<u32> {
        let place = usize::from(self.home[side as usize]);
        self.all.get(place.checked_sub(1)?).copied()
    }

    /// Whether a packet of `side` can be seen on `link` in that direction.
    pub(super) fn allow(&self, side: Side, link: u32, direction: Direction) -> bool {
        match direction {
            Direction::Unknown => true,
            Direction::Ingress => self.home(side) != Some(link),
            Direction::Egress => {
                self.home(side.other()) != Some(link)
                    && self.home(side).is_none_or(|home| home == link)
            }
        }
    }

    /// A packet of `side` was seen on `link`.
    pub(super) fn note(&mut self, side: Side, link: u32, direction: Direction) {
        // A packet that a pod sends leaves its interface.
        match direction {
            Direction::Egress => self.seen_at[side as usize] = true,
            Direction::Ingress => self.seen_at[side.other() as usize] = true,
            Direction::Unknown => {}
        }
        let known = self.all.iter().position(|l| *l == link || *l == 0);
        let leaves = direction == Direction::Egress && self.home[side as usize] == 0;
        let place = match known {
            Some(place) => place,
            // The last one is replaced by one with more information.
            None if leaves => LINKS - 1,
            None => return,
        };
        self.all[place] = link;
        if leaves {
            self.home[side as usize] = place as u8 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Egress, Ingress};
    use Side::{Client, Server};

    #[test]
    fn a_side_comes_out_of_one_interface() {
        let mut links = Links::default();
        links.note(Client, 7, Egress);
        links.note(Client, 9, Ingress);
        links.note(Server, 9, Egress);
        assert_eq!((links.home(Client), links.home(Server)), (Some(7), Some(9)));
        assert!(links.allow(Client, 7, Egress) && links.allow(Client, 9, Ingress));
        assert!(links.allow(Server, 9, Egress) && links.allow(Server, 7, Ingress));
        assert!(
            !links.allow(Server, 7, Egress),
            "the client's pod speaks for the server"
        );
        assert!(
            !links.allow(Client, 8, Egress),
            "a third pod speaks for the client"
        );
        assert!(!links.allow(Client, 7, Ingress), "to the pod that it is of");
        assert_eq!(links.iter().collect::<Vec<_>>(), [7, 9]);
    }

    #[test]
    fn the_interfaces_that_say_most_are_kept() {
        let mut links = Links::default();
        for link in 1..10 {
            links.note(Client, link, Ingress);
        }
        links.note(Server, 20, Egress);
        assert_eq!(links.home(Server), Some(20));
        assert_eq!(links.iter().collect::<Vec<_>>(), [1, 2, 3, 20]);
    }
}
