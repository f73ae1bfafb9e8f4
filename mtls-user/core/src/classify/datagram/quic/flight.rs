//! Mutual or not, decided by the lengths of the client's Handshake packets.
//!
//! The Length field of a Handshake packet is unencrypted, and what a client sends there before
//! application data is its Finished (36 or 52 bytes), with or without a Certificate before it. The
//! length therefore decides, with one exception: a client fills a datagram that carries an Initial
//! packet to 1,200 bytes (RFC 9000 §14.1), and some clients put the padding into the Handshake
//! packet. A length that may include padding proves nothing. Neither does one that is as long as a
//! certificate while no packet of the client was shorter: the client may pad all of them.

use smallvec::SmallVec;

/// Handshake packets that are kept: a rejected client sends its flight some twenty times.
const PACKETS: usize = 48;
/// The least size of a datagram with an Initial packet (RFC 9000 §14.1).
const FILLED: usize = 1200;
/// From this amount of padding inside an Initial packet, or of bytes after a Handshake packet, the
/// padding of a datagram is there and not in the Handshake packet.
const FILLING: usize = 64;
/// The least Length of one packet with a certificate. The smallest seen is 443; frames without a
/// certificate were never longer than 90.
const CERTIFICATE: u16 = 300;

/// What the length of a Handshake packet says about its frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// It contains no padding.
    Exact,
    /// It fills a datagram of its own: one of several, or padded.
    Full,
    /// It follows a small Initial packet in a datagram that had to be filled.
    Open,
}

/// A Handshake packet of the client.
#[derive(Clone, Copy, Debug)]
struct Sized {
    length: u16,
    room: Room,
}

/// The contents of a datagram besides its Handshake packets.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Around {
    /// Size of the datagram.
    pub(super) len: usize,
    /// Whether there is an Initial packet.
    pub(super) initial: bool,
    /// Bytes of PADDING in it; zero if it could not be decrypted.
    pub(super) padding: usize,
}

/// What follows a Handshake packet in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Behind {
    /// Nothing.
    Nothing,
    /// Another Handshake packet.
    Handshake,
    /// This many bytes of something else.
    Bytes(usize),
}

/// The contents of the client's flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify::datagram) enum Shape {
    /// A certificate, and the length that shows it.
    Certificate(u16),
    /// Finished without a certificate, and the length that shows it.
    Finished(u16),
    /// Padding may hide either.
    Padded,
    /// A length that neither explains.
    Strange(u16),
    /// Only acknowledgements so far.
    Nothing,
}

/// The client's Handshake packets, and what the server did after them.
#[derive(Debug, Default)]
pub(super) struct Flight {
    packets: SmallVec<[Sized; 4]>,
    /// There were more than are kept.
    overflow: bool,
    /// The length of the client's shortest packet after its Initial packets.
    shortest: Option<u16>,
    /// The client has sent a 1-RTT packet: it has accepted the server's flight.
    pub(super) client_done: bool,
    /// A datagram of the client began with a 1-RTT packet after its last Handshake packet.
    pub(super) client_went_on: bool,
    /// The server sends 1-RTT packets and no more Handshake packets, and began to do so after the
    /// client's flight: it has accepted it.
    pub(super) accepted: bool,
    /// The server sent a Handshake packet after the client's first 1-RTT packet.
    pub(super) server_stayed: bool,
    /// The server sent anything after the client's last Handshake packet.
    pub(super) answered: bool,
    /// The server sent anything at all.
    pub(super) server_seen: bool,
}

impl Flight {
    /// Records a client's Handshake packet with this Length field.
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

    /// Records another packet of the client, whose length shows whether it pads all packets.
    pub(super) fn compare(&mut self, length: usize) {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.shortest = Some(self.shortest.map_or(length, |least| least.min(length)));
    }

    /// How to interpret a packet that is as long as one with a certificate.
    fn certificate(&self, length: u16) -> Shape {
        // All have one length: padded, including acknowledgements; or retransmitted.
        let alike = self.packets.len() > 1 && self.packets.iter().all(|p| p.length == length);
        if !alike && self.shortest.is_some_and(|least| least < length) {
            Shape::Certificate(length)
        } else {
            Shape::Padded
        }
    }

    /// Whether the client has sent Handshake packets.
    pub(super) fn has_begun(&self) -> bool {
        !self.packets.is_empty()
    }

    /// The conclusion from the packets so far. `hash`: bytes of the cipher suite's hash, which is
    /// the length of a Finished; `None` if the server's choice was not seen.
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
        // The rest of a flight in several packets: longer than any Finished.
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
        // Packet number 4, Finished 4 + hash, its frame 4, and the tag 16; may be shorter.
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

    /// A datagram of its own, of this size.
    fn alone(len: usize) -> Around {
        Around {
            len,
            ..Around::default()
        }
    }

    /// A datagram filled to 1,200 bytes, with this much padding in its Initial packet.
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

    /// A client that fills every packet to one length, whatever it contains.
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
            // Shorter application data does not show how the handshake was padded.
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

    /// A length decides only if the padding of its datagram is elsewhere.
    #[test]
    fn padding_hides() {
        let open = (1123, LAST, filled(0));
        assert_eq!(shape(&[open]), Shape::Padded);
        // An Initial packet that is long for another reason than padding changes nothing.
        assert_eq!(shape(&[(800, LAST, filled(40))]), Shape::Padded);
        assert_eq!(shape(&[(800, LAST, filled(300))]), Shape::Certificate(800));
        assert_eq!(shape(&[(70, LAST, filled(1000))]), Shape::Finished(70));
        // The padding may be in a following packet, or be zeros; a short packet does not need any.
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
        // A packet that fills a datagram of its own may be padded, and so may every such packet.
        let full = (1171, LAST, alone(1200));
        assert_eq!(shape(&[full, full]), Shape::Padded);
        assert_eq!(
            shape(&[full, (250, LAST, alone(280))]),
            Shape::Certificate(250)
        );
        assert_eq!(shape(&[full, (70, LAST, alone(100))]), Shape::Padded);
    }

    /// A packet as long as a Finished proves nothing together with packets that are not.
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

    /// More packets never turn another result into a certificate, and never revoke one, except for
    /// a second one of the same length.
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
