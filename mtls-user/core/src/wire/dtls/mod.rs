//! DTLS as far as it is visible without keys: records of DTLS 1.0 and 1.2 (RFC 6347), with
//! connection IDs (RFC 9146), and of 1.3 (RFC 9147); fragments of handshake messages.

use crate::wire::cursor::Cursor;

/// What a record contains.
pub mod content {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION_DATA: u8 = 23;
    /// Any of these, encrypted, with a connection ID (RFC 9146 §4).
    pub const CID: u8 = 25;
    /// Acknowledgement (RFC 9147 §7).
    pub const ACK: u8 = 26;
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// With the header of DTLS 1.2 and earlier, which 1.3 uses for unencrypted records.
    Full {
        /// See [`content`].
        content: u8,
        /// Epoch; 0 is unencrypted.
        epoch: u16,
        /// Sequence number within the epoch.
        sequence: u64,
        /// Bytes of its body.
        len: u16,
        /// The body, as far as it was captured.
        body: &'a [u8],
    },
    /// With the header of DTLS 1.3's encrypted records.
    Unified {
        /// The two lower bits of the epoch: 2 is the handshake, 3 is application data.
        epoch: u8,
        /// Bytes of its body.
        len: u16,
    },
}

/// The records in a datagram of `len` bytes, of which `bytes` were captured. `cid`: length of the
/// connection ID that its receiver has chosen. Ends at the first invalid record, with `None`.
pub fn records(bytes: &[u8], len: usize, cid: usize) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = bytes;
    let mut left = len.max(bytes.len());
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let Some((record, size)) = record(rest, left, cid) else {
            left = 0;
            return Some(None);
        };
        rest = rest.get(size..).unwrap_or_default();
        left -= size;
        // What was not captured cannot be read.
        if rest.is_empty() {
            left = 0;
        }
        Some(Some(record))
    })
}

fn record(bytes: &[u8], len: usize, cid: usize) -> Option<(Record<'_>, usize)> {
    let mut c = Cursor::new(bytes);
    let first = c.u8()?;
    if first >> 5 == 1 {
        if first & 0x10 != 0 {
            c.take(cid)?;
        }
        c.take(if first & 0x08 != 0 { 2 } else { 1 })?;
        let explicit = first & 0x04 != 0;
        let body = if explicit { c.u16()? } else { 0 };
        let header = bytes.len() - c.len();
        let body = if explicit {
            body
        } else {
            u16::try_from(len.checked_sub(header)?).ok()?
        };
        let size = header + usize::from(body);
        let record = Record::Unified {
            epoch: first & 3,
            len: body,
        };
        return (size <= len && body >= 16).then_some((record, size));
    }
    let version = c.u16()?;
    let epoch = c.u16()?;
    let sequence = u64::from(c.u16()?) << 32 | u64::from(c.u32()?);
    if first == content::CID {
        c.take(cid)?;
    }
    let body = c.u16()?;
    let header = bytes.len() - c.len();
    let size = header + usize::from(body);
    let known = matches!(first, 20..=23 | content::CID | content::ACK)
        && matches!(version, 0xfeff | 0xfefd)
        && (first != content::CID || epoch > 0);
    let rest = c.rest();
    (known && size <= len).then_some((
        Record::Full {
            content: first,
            epoch,
            sequence,
            len: body,
            body: &rest[..rest.len().min(body.into())],
        },
        size,
    ))
}

/// A fragment of a handshake message (RFC 6347 §4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment<'a> {
    /// The message's type.
    pub kind: u8,
    /// Bytes of the whole message.
    pub len: u32,
    /// The message's number.
    pub sequence: u16,
    /// Position of the fragment in the message.
    pub offset: u32,
    /// Its bytes.
    pub data: &'a [u8],
}

/// The fragments in the body of a handshake record.
pub fn fragments(body: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let mut c = Cursor::new(body);
    std::iter::from_fn(move || {
        let (kind, len, sequence) = (c.u8()?, c.u24()?, c.u16()?);
        let offset = c.u24()?;
        let data = c.vec24()?;
        let end = offset as usize + data.len();
        (end <= len as usize).then_some(Fragment {
            kind,
            len,
            sequence,
            offset,
            data,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(content: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![content, 0xfe, 0xfd];
        bytes.extend(epoch.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0, 7]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn records_share_a_datagram() {
        let mut datagram = full(22, 0, &[1, 2, 3]);
        datagram.extend(full(20, 0, &[1]));
        // 001 C=0 S=1 L=1 EE=2.
        datagram.extend([0x2e, 9, 9, 0, 20]);
        datagram.extend([7; 20]);
        // Without a length, the record is the rest of the datagram.
        datagram.extend([0x23, 9]);
        datagram.extend([7; 30]);
        let found: Vec<_> = records(&datagram, datagram.len(), 0).flatten().collect();
        let lens: Vec<_> = found
            .iter()
            .map(|r| match r {
                Record::Full { content, len, .. } => (*content, *len),
                Record::Unified { epoch, len } => (*epoch, *len),
            })
            .collect();
        assert_eq!(lens, [(22, 3), (20, 1), (2, 20), (3, 30)]);
    }

    #[test]
    fn with_connection_ids() {
        let mut datagram = vec![25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0xaa, 0xbb, 0, 17];
        datagram.extend([3; 17]);
        let all = |cid| records(&datagram, datagram.len(), cid).collect::<Vec<_>>();
        assert!(matches!(
            all(2)[..],
            [Some(Record::Full {
                content: content::CID,
                len: 17,
                ..
            })]
        ));
        assert_eq!(all(0), [None], "of another length, it is no record");
    }

    #[test]
    fn nothing_reaches_beyond_the_datagram() {
        let whole = full(22, 0, &[9; 40]);
        for n in 1..whole.len() {
            assert_eq!(
                records(&whole[..n], n, 0).collect::<Vec<_>>(),
                [None],
                "{n}"
            );
        }
        let cut: Vec<_> = records(&whole[..20], whole.len(), 0).collect();
        assert!(matches!(cut[..], [Some(Record::Full { len: 40, .. })]));
    }

    #[test]
    fn fragments_of_messages() {
        let body = [11, 0, 0, 9, 0, 2, 0, 0, 3, 0, 0, 2, 5, 6];
        let mut both = body.to_vec();
        both.extend(body);
        let one = Fragment {
            kind: 11,
            len: 9,
            sequence: 2,
            offset: 3,
            data: &[5, 6],
        };
        assert_eq!(fragments(&both).collect::<Vec<_>>(), [one, one]);
        // Beyond the end of the message.
        let mut lying = body;
        lying[8] = 8;
        assert_eq!(fragments(&lying).count(), 0);
    }
}
