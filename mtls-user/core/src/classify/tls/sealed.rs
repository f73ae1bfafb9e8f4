//! Renegotiations (TLS 1.2 and before): handshakes under the encryption of the one before.
//!
//! Of their messages only lengths show. In a full one the client sends its ClientHello, waits for
//! the server's flight, and sends its own, which ends with ChangeCipherSpec: what acknowledges as
//! much of the server as the ChangeCipherSpec does is that second flight, however many records the
//! ClientHello took. In a resumption the ChangeCipherSpec follows the server's, and nothing else
//! acknowledges as much.

/// Encrypted handshake records since the last ChangeCipherSpec.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::classify) struct Sealed {
    /// ChangeCipherSpec was seen: what follows is encrypted.
    begun: bool,
    records: u8,
    /// Bytes of the last records, as far as they acknowledge the same.
    bytes: u16,
    /// What they acknowledge, its low 32 bits.
    ack: u32,
}

impl Sealed {
    /// Counts an encrypted handshake record that came with this acknowledgement.
    pub(in crate::classify) fn add(&mut self, len: u16, ack: Option<u64>) {
        if !self.begun {
            return;
        }
        self.records = self.records.saturating_add(1);
        let ack = ack.map(|ack| ack as u32);
        if ack != Some(self.ack) {
            self.bytes = 0;
        }
        // Without an acknowledgement it belongs to no flight.
        if let Some(ack) = ack {
            self.ack = ack;
            self.bytes = self.bytes.saturating_add(len);
        }
    }

    /// At ChangeCipherSpec: the bytes of the flight that it closes, if a renegotiation is closed.
    pub(in crate::classify) fn end(&mut self, ack: Option<u64>) -> Option<u16> {
        let ended = *self;
        *self = Self {
            begun: true,
            ..Self::default()
        };
        let same = ack.is_some_and(|ack| ack as u32 == ended.ack);
        // Finished is the first.
        (ended.records > 1).then_some(if same { ended.bytes } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records behind the first ChangeCipherSpec, each with its acknowledgement, up to the next.
    fn ended(records: &[(u16, u64)], ack: u64) -> Option<u16> {
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

    #[test]
    fn the_second_flight_counts() {
        assert_eq!(
            ended(&[(40, 10), (300, 20), (700, 30), (94, 30)], 30),
            Some(794)
        );
        // A hello of any number of records.
        assert_eq!(
            ended(&[(40, 10), (536, 20), (529, 20), (94, 30)], 30),
            Some(94)
        );
    }

    #[test]
    fn a_resumption_has_no_second_flight() {
        assert_eq!(ended(&[(40, 10), (536, 20), (529, 20)], 30), Some(0));
        assert_eq!(ended(&[(40, 10)], 30), None);
    }

    #[test]
    fn without_acknowledgements_nothing_is_counted() {
        let mut sealed = Sealed::default();
        sealed.end(None);
        for len in [40, 300, 700] {
            sealed.add(len, None);
        }
        assert_eq!(sealed.end(None), Some(0));
    }
}
