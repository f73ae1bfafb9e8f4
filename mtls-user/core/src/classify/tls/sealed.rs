//! Renegotiations (TLS 1.2 and before): handshakes under the encryption of the one before.
//!
//! Of their messages only lengths show. In a full one the client sends its ClientHello, waits for
//! the server's flight, and sends its own, which ends with ChangeCipherSpec: what acknowledges as
//! much of the server as the ChangeCipherSpec does is that second flight, however many records the
//! ClientHello took. In a resumption the ChangeCipherSpec follows the server's, and nothing else
//! acknowledges as much.
//!
//! A flight without a certificate is a key exchange, behind an empty Certificate at most. On curves
//! that is short; a key exchange by RSA, or by Diffie-Hellman over finite fields, may be as long as a
//! certificate is. A certificate comes with its CertificateVerify, so most stacks send it in a flight
//! that has two long records, and one of a key exchange has only one.

/// A record of a CertificateVerify is no shorter than this. Longer than an empty Certificate.
const LONG: u16 = 90;

/// Encrypted handshake records since the last ChangeCipherSpec.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::classify) struct Sealed {
    /// What they acknowledge, its low 32 bits.
    ack: u32,
    /// Bytes of the last records, as far as they acknowledge the same.
    bytes: u16,
    /// Those of them that are at least [`LONG`].
    long: u8,
    /// One more than the records so far; zero while nothing is encrypted.
    records: u8,
}

/// The flight that closes a renegotiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) struct Flight {
    /// Bytes of its records.
    pub(in crate::classify) bytes: u16,
    /// More than one of them is long.
    pub(in crate::classify) several: bool,
}

impl Sealed {
    /// Counts an encrypted handshake record that came with this acknowledgement.
    pub(in crate::classify) fn add(&mut self, len: u16, ack: Option<u64>) {
        if self.records == 0 {
            return;
        }
        self.records = self.records.saturating_add(1);
        let ack = ack.map(|ack| ack as u32);
        if ack != Some(self.ack) {
            self.bytes = 0;
            self.long = 0;
        }
        // Without an acknowledgement it belongs to no flight.
        if let Some(ack) = ack {
            self.ack = ack;
            self.bytes = self.bytes.saturating_add(len);
            self.long = self.long.saturating_add(u8::from(len >= LONG));
        }
    }

    /// At ChangeCipherSpec: the flight that it closes, if a renegotiation is closed.
    pub(in crate::classify) fn end(&mut self, ack: Option<u64>) -> Option<Flight> {
        let ended = *self;
        *self = Self {
            records: 1,
            ..Self::default()
        };
        let same = ack.is_some_and(|ack| ack as u32 == ended.ack);
        // Finished is the first.
        (ended.records > 2).then_some(Flight {
            bytes: if same { ended.bytes } else { 0 },
            several: same && ended.long > 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records behind the first ChangeCipherSpec, each with its acknowledgement, up to the next.
    fn ended(records: &[(u16, u64)], ack: u64) -> Option<Flight> {
        let mut sealed = Sealed::default();
        // In clear: not counted.
        sealed.add(1584, Some(0));
        sealed.add(37, Some(0));
        assert_eq!(sealed.end(Some(0)), None);
        for (len, ack) in records {
            sealed.add(*len, Some(*ack));
        }
        sealed.end(Some(ack))
    }

    fn flight(bytes: u16, several: bool) -> Flight {
        Flight { bytes, several }
    }

    #[test]
    fn the_second_flight_counts() {
        assert_eq!(
            ended(&[(40, 10), (300, 20), (700, 30), (94, 30)], 30),
            Some(flight(794, true))
        );
        // A hello of any number of records.
        assert_eq!(
            ended(&[(40, 10), (536, 20), (529, 20), (94, 30)], 30),
            Some(flight(94, false))
        );
        // An empty Certificate, and a key exchange with an RSA key of 4,096 bits.
        assert_eq!(
            ended(&[(40, 10), (300, 20), (31, 30), (542, 30)], 30),
            Some(flight(573, false))
        );
    }

    #[test]
    fn a_resumption_has_no_second_flight() {
        assert_eq!(
            ended(&[(40, 10), (536, 20), (529, 20)], 30),
            Some(flight(0, false))
        );
        assert_eq!(ended(&[(40, 10)], 30), None);
    }

    #[test]
    fn without_acknowledgements_nothing_is_counted() {
        let mut sealed = Sealed::default();
        sealed.end(None);
        for len in [40, 300, 700] {
            sealed.add(len, None);
        }
        assert_eq!(sealed.end(None), Some(flight(0, false)));
    }
}
