//! DTLS 1.3, mutual or not, decided by the lengths of the client's records in the handshake epoch.
//!
//! A handshake message is a 12-byte header and its body; its record adds one byte and a 16-byte
//! tag. A Finished is therefore 61 or 77 bytes long, depending on the suite's hash; with an empty
//! Certificate in the same record, 16 more. An acknowledgement of n records is 19 + 16·n bytes (RFC
//! 9147 §7). Anything else that is as long as a certificate is one, unless it may be padding.

use smallvec::SmallVec;

use crate::classify::datagram::padding::{self, Lengths};
use crate::classify::datagram::quic::Shape;

/// Records that are kept.
const RECORDS: usize = 64;
/// The least length of a record with a certificate; the smallest seen is 339.
const CERTIFICATE: u16 = 200;
/// What a record's body contains besides its message.
const OVERHEAD: u16 = 17;

/// The client's records of the handshake epoch.
#[derive(Debug, Default)]
pub(super) struct Records {
    lens: SmallVec<[u16; 4]>,
    overflow: bool,
    /// The lengths of its records of other epochs.
    data: Lengths,
    /// The server's encrypted handshake records, which the client can acknowledge.
    pub(super) servers: u16,
}

impl Records {
    /// A record of the handshake epoch.
    pub(super) fn add(&mut self, len: u16) {
        if self.lens.len() < RECORDS {
            self.lens.push(len);
        } else {
            self.overflow = true;
        }
    }

    /// A record of another epoch, whose length shows whether the client pads.
    pub(super) fn compare(&mut self, len: u16) {
        self.data.add(len);
    }

    /// The client has sent more than acknowledgements, which a server answers with data only if it
    /// accepts it.
    pub(super) fn has_begun(&self) -> bool {
        self.lens.iter().any(|len| !self.is_ack(*len))
    }

    /// Whether it may acknowledge records: no more than the server has sent, including
    /// retransmissions.
    fn is_ack(&self, len: u16) -> bool {
        let ranges = len.saturating_sub(2 + OVERHEAD);
        len >= 2 + OVERHEAD
            && ranges.is_multiple_of(16)
            && ranges / 16 <= self.servers.saturating_mul(2).saturating_add(8)
    }

    /// Whether a Finished, of `finished` bytes at most, may be padded to this length.
    fn is_padded(&self, len: u16, finished: u16) -> bool {
        let handshake: Lengths = self.lens.iter().copied().collect();
        let repeated = self.lens.len() > 1;
        !padding::is_excluded(len, finished, &handshake, &self.data, repeated)
    }

    /// The conclusion from the records so far; `hash`: bytes of the suite's hash.
    pub(super) fn shape(&self, hash: u16) -> Shape {
        let finished = 12 + hash + OVERHEAD;
        let mut found = Shape::Nothing;
        for &len in &self.lens {
            let this = match len {
                _ if len == finished || len == finished + 16 => Shape::Finished(len),
                // An empty Certificate alone; an alert.
                33 | 19 => Shape::Nothing,
                _ if self.is_ack(len) => Shape::Nothing,
                CERTIFICATE.. if self.is_padded(len, finished + 16) => Shape::Padded,
                CERTIFICATE.. => return Shape::Certificate(len),
                _ => Shape::Strange(len),
            };
            found = match (found, this) {
                (Shape::Padded, _) | (_, Shape::Padded) => Shape::Padded,
                (Shape::Strange(n), _) | (_, Shape::Strange(n)) => Shape::Strange(n),
                (Shape::Nothing, this) => this,
                (found, _) => found,
            };
        }
        match found {
            Shape::Finished(_) if self.overflow => Shape::Padded,
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a client that then sends data of these lengths.
    fn shape(lens: &[u16], data: &[u16], servers: u16) -> Shape {
        let mut records = Records {
            servers,
            ..Records::default()
        };
        for len in lens {
            records.add(*len);
        }
        for len in data {
            records.compare(*len);
        }
        records.shape(32)
    }

    /// Lengths that are not padded to a block.
    const DATA: &[u16] = &[24, 40];

    #[test]
    fn lengths_that_tell() {
        for (lens, wanted) in [
            (&[61][..], Shape::Finished(61)),
            (&[33, 61], Shape::Finished(61)),
            (&[77], Shape::Finished(77)),
            (&[35, 61], Shape::Finished(61)),
            (&[618, 35], Shape::Certificate(618)),
            (&[489, 117, 61], Shape::Certificate(489)),
            (&[35, 51, 67], Shape::Nothing),
            (&[61, 120], Shape::Strange(120)),
            (&[], Shape::Nothing),
        ] {
            assert_eq!(shape(lens, DATA, 5), wanted, "{lens:?}");
        }
    }

    /// An acknowledgement of many records is as long as a certificate.
    #[test]
    fn acknowledgements_are_no_certificates() {
        assert_eq!(shape(&[19 + 16 * 20], DATA, 20), Shape::Nothing);
        assert_eq!(
            shape(&[19 + 16 * 40, 61], DATA, 5),
            Shape::Certificate(19 + 16 * 40)
        );
    }

    #[test]
    fn padding_is_no_certificate() {
        for len in [200, 333, 512 + 16, 1171] {
            assert_eq!(shape(&[len], &[], 5), Shape::Padded);
            // Retransmissions, and application data of two blocks.
            let mut records = Records::default();
            records.add(len);
            records.add(len);
            records.compare(2 * len - 16);
            assert_eq!(records.shape(32), Shape::Padded);
            // Anything longer than one block is not a Finished.
            assert_eq!(
                shape(&[len, 2 * len - 16], &[], 5),
                Shape::Certificate(2 * len - 16)
            );
        }
        // A shorter record is not enough: the block may begin at a least size.
        assert_eq!(shape(&[512 + 16, 61], &[], 5), Shape::Padded);
        assert_eq!(shape(&[512 + 16, 61], DATA, 5), Shape::Certificate(528));
    }

    /// A server may send data before it knows who its client is.
    #[test]
    fn acknowledgements_are_no_flight() {
        let mut records = Records {
            servers: 2,
            ..Records::default()
        };
        records.add(35);
        assert!(!records.has_begun());
        records.add(61);
        assert!(records.has_begun());
    }
}
