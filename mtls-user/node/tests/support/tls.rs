//! Streams of TLS records, and the expected samples.

/// A record with a body that never looks like a header.
pub(crate) fn record(kind: u8, len: usize) -> Vec<u8> {
    let mut record = vec![kind, 3, 3, (len >> 8) as u8, len as u8];
    record.extend((0..len).map(|i| 0x80 | i as u8));
    record
}

/// What should be sampled of `stream`: `Some` for each sampled byte. Everything up to the first
/// application data; after that, headers, and the first 32 bytes of four records as well.
pub(crate) fn wanted(records: &[(u8, usize)]) -> Vec<Option<u8>> {
    let mut wanted = Vec::new();
    let mut copying = true;
    let mut bodies = 0;
    for (kind, len) in records {
        let record = record(*kind, *len);
        copying &= *kind != 23;
        let body = if copying {
            *len
        } else if bodies < 4 {
            32
        } else {
            0
        };
        bodies += usize::from(!copying);
        for (at, byte) in record.iter().enumerate() {
            wanted.push((at < 5 + body).then_some(*byte));
        }
    }
    wanted
}

/// The records one after the other.
pub(crate) fn stream_of(records: &[(u8, usize)]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|(kind, len)| record(*kind, *len))
        .collect()
}

/// Pieces placed at their positions in a stream.
pub(crate) fn lay(pieces: &[(usize, Vec<u8>)], len: usize) -> Vec<Option<u8>> {
    let mut bytes = vec![None; len];
    for (offset, piece) in pieces {
        for (slot, byte) in bytes[*offset..].iter_mut().zip(piece) {
            *slot = Some(*byte);
        }
    }
    bytes
}
