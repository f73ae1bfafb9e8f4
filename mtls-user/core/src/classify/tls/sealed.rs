//! Renegotiations (TLS 1.2 and earlier): handshakes encrypted with the keys of the previous one.
//!
//! Only the lengths of their messages are visible. In a full handshake, the client sends its
//! ClientHello, waits for the server's flight, and sends its own, which ends with ChangeCipherSpec:
//! the records that acknowledge as much of the server as the ChangeCipherSpec does are that second
//! flight, however many records the ClientHello took. In a resumption, the client's
//! ChangeCipherSpec follows the server's, and no other record acknowledges as much.
//!
//! A flight without a certificate is a key exchange, after an empty Certificate at most. With
//! elliptic curves it is short; with RSA, or Diffie-Hellman over finite fields, it may be as long
//! as a certificate. A certificate is sent with its CertificateVerify, so most stacks send it in a
//! flight with two long records, and a flight with a key exchange has only one.

/// The least length of a CertificateVerify record. Longer than an empty Certificate.
const LONG: u16 = 90;

/// Encrypted handshake records since the last ChangeCipherSpec.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::classify) struct Sealed {
    /// What they acknowledge (the low 32 bits).
    ack: u32,
    /// Total length of the last records with the same acknowledgement.
    bytes: u16,
    /// Those of them with at least [`LONG`] bytes.
    long: u8,
    /// The number of records so far plus one; zero while nothing is encrypted.
    records: u8,
}

/// The flight that completes a renegotiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::classify) struct Flight {
    /// Total length of its records.
    pub(in crate::classify) bytes: u16,
    /// Whether more than one of them is long.
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
        // Without an acknowledgement, it belongs to no flight.
        if let Some(ack) = ack {
            self.ack = ack;
            self.bytes = self.bytes.saturating_add(len);
            self.long = self.long.saturating_add(u8::from(len >= LONG));
        }
    }

    /// At ChangeCipherSpec: the flight that it completes, if it completes a renegotiation.
    pub(in crate::classify) fn end(&mut self, ack: Option<u64>) -> Option<Flight> {
        let ended = *self;
        *self = Self {
            records: 1,
            ..Self::default()
        };
        let same = ack.is_some_and(|ack| ack as u32 == ended.ack);
        // The first handshake's Finished.
        (ended.records > 2).then_some(Flight {
            bytes: if same { ended.bytes } else { 0 },
            several: same && ended.long > 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records after the first ChangeCipherSpec, each with its acknowledgement, up to the next.
    fn ended(records: &[(u16, u64)], ack: u64) -> Option<Flight> {
        let mut sealed = Sealed::default();
        // Unencrypted: not counted.
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
        // A hello with any number of records.
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
