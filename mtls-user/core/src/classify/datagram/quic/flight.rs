//! Mutual or not, decided by the lengths of the client's Handshake packets.
//!
//! The Length field of a Handshake packet is unencrypted, and what a client sends there before
//! application data is its Finished (36 or 52 bytes), with or without a Certificate before it. The
//! length therefore decides, unless padding explains it: a client fills a datagram that carries an
//! Initial packet to 1,200 bytes (RFC 9000 §14.1), and some clients put the padding into the
//! Handshake packet. A client may also pad all its packets ([`padding`]).

use smallvec::SmallVec;

use crate::classify::datagram::padding::{self, Lengths};

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
/// Of a packet's Length, at least this much is not part of a message: packet number, frame, tag.
const OVERHEAD: u16 = 20;

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
    /// Several packets, each as long as a Finished, that together may contain a certificate.
    Split,
    /// A certificate, or application settings, which the client offered.
    Settings(u16),
    /// Only acknowledgements so far.
    Nothing,
}

/// The client's Handshake packets, and what the server did after them.
#[derive(Debug, Default)]
pub(super) struct Flight {
    packets: SmallVec<[Sized; 4]>,
    /// There were more than are kept.
    overflow: bool,
    /// The lengths of the client's 1-RTT packets.
    data: Lengths,
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
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if self.packets.len() < PACKETS {
            self.packets.push(Sized { length, room });
        } else {
            self.overflow = true;
        }
        self.client_went_on = false;
        self.answered = false;
    }

    /// Records a 1-RTT packet of the client, whose length shows whether it pads its packets.
    pub(super) fn compare(&mut self, length: usize) {
        self.data.add(u16::try_from(length).unwrap_or(u16::MAX));
    }

    /// How to interpret a packet that is as long as one with a certificate. `most`: the longest
    /// packet with a Finished.
    fn certificate(&self, length: u16, most: u16) -> Shape {
        let handshake: Lengths = self.packets.iter().map(|p| p.length).collect();
        let repeated = self.packets.len() > 1;
        if padding::is_excluded(length, most, &handshake, &self.data, repeated) {
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
    /// the length of a Finished; `None` if the server's choice was not seen. `settings`: the client
    /// offered application settings, which it would send ahead of its Finished.
    pub(super) fn shape(&self, hash: Option<u16>, settings: bool) -> Shape {
        let (least, most) = hash.map_or((32, 48), |h| (h, h));
        // Packet number 4, Finished 4 + hash, its frame 4, and the tag 16; may be shorter. The rest
        // are acknowledgements.
        let (least, most) = (least + 24, most + 64);
        let exact = |p: &&Sized| p.room == Room::Exact;
        let single = self
            .packets
            .iter()
            .filter(exact)
            .find(|p| p.length >= CERTIFICATE);
        // The rest of a flight in several packets: longer than any Finished.
        let rest = self
            .packets
            .iter()
            .skip_while(|p| p.room == Room::Exact)
            .filter(exact)
            .find(|p| p.length >= most + 16);
        match single.or(rest) {
            Some(p) if settings => return Shape::Settings(p.length),
            Some(p) => return self.certificate(p.length, most),
            None => {}
        }
        if self.overflow || self.packets.iter().any(|p| p.room != Room::Exact) {
            return Shape::Padded;
        }
        let (mut finished, mut together) = (None, 0_u16);
        for p in &self.packets {
            match p.length {
                n if n < least => {}
                n if n <= most => {
                    finished = finished.or(Some(n));
                    together = together.saturating_add(n - OVERHEAD);
                }
                n => return Shape::Strange(n),
            }
        }
        match finished {
            // Retransmissions of a Finished reach the same sum.
            Some(_) if together >= CERTIFICATE => Shape::Split,
            Some(n) => Shape::Finished(n),
            None => Shape::Nothing,
        }
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
        flight.compare(45);
        flight.shape(Some(32), false)
    }

    /// A client that fills every packet to one length, whatever it contains.
    #[test]
    fn a_client_that_pads_all_its_packets_is_never_mutual() {
        for length in [300, 450, 800, 1150] {
            let mut flight = Flight::default();
            flight.add(length, LAST, alone(length + 30));
            assert_eq!(flight.shape(Some(32), false), Shape::Padded);
            flight.add(length, LAST, alone(length + 30));
            for _ in 0..20 {
                flight.compare(length);
                assert_eq!(flight.shape(Some(32), false), Shape::Padded);
            }
            // Shorter application data does not show how the handshake was padded.
            flight.compare(length - 20);
            assert_eq!(flight.shape(Some(32), false), Shape::Padded);
            flight.add(40, LAST, alone(70));
            let certificate = Shape::Certificate(u16::try_from(length).unwrap());
            assert_eq!(flight.shape(Some(32), false), certificate);
        }
    }

    /// One that pads all its packets to a least size, and what is longer to multiples of a block.
    #[test]
    fn a_client_that_pads_to_blocks_is_never_mutual() {
        for (least, block) in [(39, 300), (39, 400), (100, 256), (400, 1), (64, 1024)] {
            let pad = |n: usize| least + n.saturating_sub(least).div_ceil(block) * block;
            let mut flight = Flight::default();
            for natural in [22, 62, 24, 36] {
                flight.add(pad(natural), LAST, alone(pad(natural) + 40));
                for data in [12, 60, 90, 380, 700] {
                    flight.compare(pad(data) + 9);
                }
                let shape = flight.shape(Some(32), false);
                let mutual = matches!(shape, Shape::Certificate(_));
                assert!(!mutual, "{least}, {block}: {shape:?}");
            }
        }
    }

    /// Application settings may have any length (draft-vvv-tls-alps §4).
    #[test]
    fn settings_are_no_certificate() {
        let mut flight = Flight::default();
        flight.add(24, LAST, alone(60));
        flight.add(700, LAST, alone(740));
        flight.compare(30);
        flight.compare(45);
        assert_eq!(flight.shape(Some(32), false), Shape::Certificate(700));
        assert_eq!(flight.shape(Some(32), true), Shape::Settings(700));
    }

    /// Acknowledgements of a flight of which every other packet was lost: two bytes per range.
    #[test]
    fn acknowledgements_are_no_certificate() {
        for ranges in 0..120 {
            let length = 1 + 5 + 2 * ranges + 16;
            let found = shape(&[(length, LAST, alone(length + 30))]);
            assert!(!matches!(found, Shape::Certificate(_)), "{ranges}");
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
        // Even if no part is longer than a Finished; a few retransmissions of one are.
        assert_eq!(shape(&[part(90); 5]), Shape::Split);
        assert_eq!(shape(&[part(62); 7]), Shape::Finished(62));
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
            flight.shape(Some(32), false),
            Shape::Padded,
            "what was not kept may have been a certificate"
        );
    }
}
