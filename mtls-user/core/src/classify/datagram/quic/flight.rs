//! Mutual or not, by the lengths of the client's Handshake packets.
//!
//! The Length field of a Handshake packet is in clear, and what a client sends there before
//! application data is its Finished (36 or 52 bytes), with or without a Certificate before it; so
//! the length tells, except that a client fills a datagram that carries an Initial packet to 1,200
//! bytes (RFC 9000 §14.1), and some fill it in the Handshake packet. A length that may be padding
//! proves nothing, and so does one that is a certificate's while no packet of the client's was
//! shorter: it may pad all of them.

use smallvec::SmallVec;

/// Handshake packets that are remembered: a refused client sends its flight some twenty times.
const PACKETS: usize = 48;
/// What a datagram with an Initial packet is filled to at least (RFC 9000 §14.1).
const FILLED: usize = 1200;
/// Padding inside an Initial packet, or bytes behind a Handshake packet, from which on the filling
/// of a datagram went there and not into the Handshake packet.
const FILLING: usize = 64;
/// The least Length of one packet with a certificate in it. The smallest seen is 443; frames
/// without one were never longer than 90.
const CERTIFICATE: u16 = 300;

/// What the length of a Handshake packet says of its frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// There is no padding in it.
    Exact,
    /// It fills a datagram of its own: one of several, or padded.
    Full,
    /// Behind a small Initial packet in a datagram that had to be filled.
    Open,
}

/// A Handshake packet of the client's.
#[derive(Clone, Copy, Debug)]
struct Sized {
    length: u16,
    room: Room,
}

/// What a datagram holds beside its Handshake packets.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Around {
    /// Bytes of the datagram.
    pub(super) len: usize,
    /// There is an Initial packet.
    pub(super) initial: bool,
    /// Bytes of PADDING in that; zero where it could not be opened.
    pub(super) padding: usize,
}

/// What follows a Handshake packet in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Behind {
    /// Nothing.
    Nothing,
    /// Another Handshake packet.
    Handshake,
    /// So many bytes of something else.
    Bytes(usize),
}

/// What the client's flight holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify::datagram) enum Shape {
    /// A certificate; the length that shows it.
    Certificate(u16),
    /// Finished, and no certificate; the length that shows it.
    Finished(u16),
    /// Padding may hide either.
    Padded,
    /// A length that neither explains.
    Strange(u16),
    /// Nothing but acknowledgements yet.
    Nothing,
}

/// The client's Handshake packets, and what the server did after them.
#[derive(Debug, Default)]
pub(super) struct Flight {
    packets: SmallVec<[Sized; 4]>,
    /// More came than are remembered.
    overflow: bool,
    /// The length of the client's shortest packet behind its Initial ones.
    shortest: Option<u16>,
    /// The client has sent a 1-RTT packet: it has accepted the server's flight.
    pub(super) client_done: bool,
    /// A client's datagram began with a 1-RTT packet after the last Handshake packet of its.
    pub(super) client_went_on: bool,
    /// The server sends 1-RTT packets and no Handshake packets any more, and began so after the
    /// client's flight: it accepted that.
    pub(super) accepted: bool,
    /// The server sent a Handshake packet after the client's first 1-RTT packet.
    pub(super) server_stayed: bool,
    /// The server said anything after the client's last Handshake packet.
    pub(super) answered: bool,
    /// The server said anything at all.
    pub(super) server_seen: bool,
}

impl Flight {
    /// A client's Handshake packet with this Length field.
    pub(super) fn add(&mut self, length: usize, behind: Behind, around: Around) {
        let room = match behind {
            _ if around.len < FILLED => Room::Exact,
            Behind::Handshake => Room::Exact,
            Behind::Bytes(n) if !around.initial || n >= FILLING => Room::Exact,
            Behind::Nothing if !around.initial => Room::Full,
            _ if around.initial && around.padding >= FILLING => Room::Exact,
            _ => Room::Open,
        };
        self.compare(length);
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if self.packets.len() < PACKETS {
            self.packets.push(Sized { length, room });
        } else {
            self.overflow = true;
        }
        self.client_went_on = false;
        self.answered = false;
    }

    /// Another packet of the client's, of this length, which shows whether it pads them all.
    pub(super) fn compare(&mut self, length: usize) {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.shortest = Some(self.shortest.map_or(length, |least| least.min(length)));
    }

    /// What a packet is that is as long as one with a certificate in it.
    fn certificate(&self, length: u16) -> Shape {
        // All of one length: padded, and the acknowledgements among them; or sent again.
        let alike = self.packets.len() > 1 && self.packets.iter().all(|p| p.length == length);
        if !alike && self.shortest.is_some_and(|least| least < length) {
            Shape::Certificate(length)
        } else {
            Shape::Padded
        }
    }

    /// The client has sent Handshake packets.
    pub(super) fn has_begun(&self) -> bool {
        !self.packets.is_empty()
    }

    /// What the packets seen so far say. `hash`: bytes of the cipher suite's hash, which a Finished
    /// is as long as; `None` where the server's choice was not seen.
    pub(super) fn shape(&self, hash: Option<u16>) -> Shape {
        let (least, most) = hash.map_or((32, 48), |h| (h, h));
        let exact = |p: &&Sized| p.room == Room::Exact;
        if let Some(p) = self
            .packets
            .iter()
            .filter(exact)
            .find(|p| p.length >= CERTIFICATE)
        {
            return self.certificate(p.length);
        }
        // Of a flight in several packets, the rest: longer than any Finished.
        let mut rest = self
            .packets
            .iter()
            .skip_while(|p| p.room == Room::Exact)
            .filter(exact);
        if let Some(p) = rest.find(|p| p.length >= most + 80) {
            return self.certificate(p.length);
        }
        if self.overflow || self.packets.iter().any(|p| p.room != Room::Exact) {
            return Shape::Padded;
        }
        // Packet number 4, Finished 4 + hash, its frame 4, and the tag 16, less what is shorter.
        let mut finished = None;
        for p in &self.packets {
            match p.length {
                n if n < least + 24 => {}
                n if n <= most + 64 => finished = finished.or(Some(n)),
                n => return Shape::Strange(n),
            }
        }
        finished.map_or(Shape::Nothing, Shape::Finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram of its own, of that many bytes.
    fn alone(len: usize) -> Around {
        Around {
            len,
            ..Around::default()
        }
    }

    /// A datagram filled to 1,200 bytes, with so much padding in its Initial packet.
    fn filled(padding: usize) -> Around {
        Around {
            len: 1200,
            initial: true,
            padding,
        }
    }

    fn shape(packets: &[(usize, Behind, Around)]) -> Shape {
        let mut flight = Flight::default();
        for &(length, behind, around) in packets {
            flight.add(length, behind, around);
        }
        flight.compare(30);
        flight.shape(Some(32))
    }

    /// A client that fills every packet to one length, of whatever is in it.
    #[test]
    fn a_client_that_pads_all_its_packets_is_never_mutual() {
        for length in [300, 450, 800, 1150] {
            let mut flight = Flight::default();
            flight.add(length, LAST, alone(length + 30));
            assert_eq!(flight.shape(Some(32)), Shape::Padded);
            flight.add(length, LAST, alone(length + 30));
            for _ in 0..20 {
                flight.compare(length);
                assert_eq!(flight.shape(Some(32)), Shape::Padded);
            }
            // Application data that is shorter says nothing of how the handshake was padded.
            flight.compare(length - 1);
            assert_eq!(flight.shape(Some(32)), Shape::Padded);
            flight.add(40, LAST, alone(70));
            let certificate = Shape::Certificate(u16::try_from(length).unwrap());
            assert_eq!(flight.shape(Some(32)), certificate);
        }
    }

    const LAST: Behind = Behind::Nothing;

    #[test]
    fn lengths_that_tell() {
        for (length, wanted) in [
            (20, Shape::Nothing),
            (36, Shape::Nothing),
            (62, Shape::Finished(62)),
            (74, Shape::Finished(74)),
            (96, Shape::Finished(96)),
            (97, Shape::Strange(97)),
            (299, Shape::Strange(299)),
            (443, Shape::Certificate(443)),
            (998, Shape::Certificate(998)),
        ] {
            assert_eq!(
                shape(&[(length, LAST, alone(length + 30))]),
                wanted,
                "{length}"
            );
        }
    }

    /// Where the filling of a datagram went is what makes a length tell.
    #[test]
    fn padding_hides() {
        let open = (1123, LAST, filled(0));
        assert_eq!(shape(&[open]), Shape::Padded);
        // An Initial packet that is long for another reason than padding changes nothing.
        assert_eq!(shape(&[(800, LAST, filled(40))]), Shape::Padded);
        assert_eq!(shape(&[(800, LAST, filled(300))]), Shape::Certificate(800));
        assert_eq!(shape(&[(70, LAST, filled(1000))]), Shape::Finished(70));
        // A packet behind it, or zeros, take the filling; a short one need not.
        assert_eq!(
            shape(&[(800, Behind::Bytes(300), filled(0))]),
            Shape::Certificate(800)
        );
        assert_eq!(
            shape(&[(1100, Behind::Bytes(30), filled(0))]),
            Shape::Padded
        );
        assert_eq!(
            shape(&[(470, Behind::Handshake, filled(0)), open]),
            Shape::Certificate(470)
        );
        // One that fills a datagram of its own may be padded, and so may every such one.
        let full = (1171, LAST, alone(1200));
        assert_eq!(shape(&[full, full]), Shape::Padded);
        assert_eq!(
            shape(&[full, (250, LAST, alone(280))]),
            Shape::Certificate(250)
        );
        assert_eq!(shape(&[full, (70, LAST, alone(100))]), Shape::Padded);
    }

    /// What is sized as a Finished proves nothing beside what is not.
    #[test]
    fn a_split_flight_is_no_finished() {
        let part = |n| (n, LAST, alone(n + 30));
        assert_eq!(
            shape(&[part(60), part(250), part(250), part(60)]),
            Shape::Strange(250)
        );
        assert_eq!(shape(&[part(60), (1171, LAST, alone(1200))]), Shape::Padded);
        assert_eq!(shape(&[part(60), part(400)]), Shape::Certificate(400));
    }

    /// More packets never make a certificate of none, nor take one back, but for a second one of the
    /// same length.
    #[test]
    fn monotone() {
        let lengths = [20, 40, 62, 90, 120, 250, 310, 900, 1171];
        let kinds: Vec<_> = lengths
            .iter()
            .flat_map(|&n| {
                [
                    (n, LAST, alone(n + 30)),
                    (n, LAST, filled(0)),
                    (n, LAST, filled(200)),
                ]
            })
            .collect();
        for a in &kinds {
            for b in &kinds {
                let two = [*a, *b];
                if matches!(shape(&[*a]), Shape::Certificate(_)) && a.0 != b.0 {
                    assert!(matches!(shape(&two), Shape::Certificate(_)));
                }
                if shape(&[*a]) == Shape::Padded {
                    assert!(!matches!(shape(&two), Shape::Finished(_)));
                }
            }
        }
    }

    #[test]
    fn bounded() {
        let mut flight = Flight::default();
        for _ in 0..10_000 {
            flight.add(70, LAST, alone(100));
        }
        assert_eq!(flight.packets.len(), PACKETS);
        assert_eq!(
            flight.shape(Some(32)),
            Shape::Padded,
            "what was not kept may have been a certificate"
        );
    }
}
