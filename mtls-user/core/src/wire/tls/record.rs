//! Record headers (RFC 8446 §5.1, RFC 5246 §6.2.1).

/// The content type of a record, according to its header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContentType {
    /// `change_cipher_spec(20)`.
    ChangeCipherSpec,
    /// `alert(21)`.
    Alert,
    /// `handshake(22)`.
    Handshake,
    /// `application_data(23)`; in TLS 1.3 every encrypted record.
    ApplicationData,
    /// `heartbeat(24)` (RFC 6520).
    Heartbeat,
}

/// The five bytes before a record's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// The content type.
    pub content: ContentType,
    /// `legacy_record_version`.
    pub version: u16,
    /// Bytes of the body.
    pub len: u16,
}

/// The longest body that any version allows: 2^14 + 2048 (RFC 5246 §6.2.3).
const MAX_BODY: u16 = (1 << 14) + 2048;

impl RecordHeader {
    /// Bytes of a header.
    pub const LEN: usize = 5;

    /// Parses `bytes` as a header; `None` if no version of TLS could have sent it.
    pub fn parse(bytes: [u8; Self::LEN]) -> Option<Self> {
        let [content, major, minor, high, low] = bytes;
        let content = match content {
            20 => ContentType::ChangeCipherSpec,
            21 => ContentType::Alert,
            22 => ContentType::Handshake,
            23 => ContentType::ApplicationData,
            24 => ContentType::Heartbeat,
            _ => return None,
        };
        let len = u16::from_be_bytes([high, low]);
        // Only application data may be empty (RFC 8446 §5.1).
        let empty = len == 0 && content != ContentType::ApplicationData;
        (major == 3 && minor <= 4 && len <= MAX_BODY && !empty).then_some(Self {
            content,
            version: u16::from_be_bytes([major, minor]),
            len,
        })
    }

    /// The header at the start of `bytes`: `None` if there are fewer than five.
    pub fn at(bytes: &[u8]) -> Option<Result<Self, NotTls>> {
        bytes
            .first_chunk()
            .map(|head| Self::parse(*head).ok_or(NotTls))
    }

    /// Bytes of header and body.
    pub fn size(self) -> u64 {
        Self::LEN as u64 + u64::from(self.len)
    }
}

/// The bytes are not a TLS record header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotTls;

/// Whether `bytes` begin with a record that carries a handshake message of type `message`, as far
/// as the start of a hello shows.
pub fn is_handshake(bytes: &[u8], message: u8) -> bool {
    // Up to the hello's version, unless the record is shorter.
    let wanted = match bytes {
        [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])).clamp(1, 6),
        _ => return false,
    };
    bytes.len() >= RecordHeader::LEN + wanted && may_be_handshake(bytes, message)
}

/// Whether `bytes` may be the start of a record that carries a handshake message of type `message`:
/// false as soon as one byte contradicts it.
pub fn may_be_handshake(bytes: &[u8], message: u8) -> bool {
    let end = match bytes {
        [_, _, _, high, low, ..] => {
            RecordHeader::LEN + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => RecordHeader::LEN,
    };
    // The message's length has three bytes, of which hellos use two; it is followed by the version,
    // which drafts numbered freely in the ServerHello.
    let fits = |(at, byte): (usize, u8)| match at {
        0 => byte == 22,
        1 => byte == 3,
        2 => byte <= 4,
        5 => byte == message,
        6 => byte == 0,
        9 => byte == 3 || byte == 0 || message != CLIENT_HELLO,
        10 => byte <= 4 || message != CLIENT_HELLO,
        _ => true,
    };
    bytes
        .iter()
        .copied()
        .enumerate()
        .take(11.min(end))
        .all(fits)
}

/// The type of a ClientHello.
const CLIENT_HELLO: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = RecordHeader::parse([22, 3, 1, 2, 0]).unwrap();
        assert_eq!(header.content, ContentType::Handshake);
        assert_eq!(
            (header.version, header.len, header.size()),
            (0x301, 512, 517)
        );
        assert!(RecordHeader::parse([23, 3, 3, 0, 0]).is_some());
        for bad in [
            [22, 3, 1, 0, 0],
            [25, 3, 3, 0, 5],
            [22, 2, 0, 0, 5],
            [22, 3, 5, 0, 5],
            [23, 3, 3, 0x48, 1],
            *b"GET /",
        ] {
            assert_eq!(RecordHeader::parse(bad), None, "{bad:?}");
        }
        assert_eq!(RecordHeader::at(&[22, 3, 1, 2]), None);
    }

    #[test]
    fn a_prefix_of_a_hello_may_be_one() {
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        for n in 0..=hello.len() {
            assert!(may_be_handshake(&hello[..n], 1));
            assert_eq!(is_handshake(&hello[..n], 1), n == hello.len());
        }
        assert!(!may_be_handshake(&hello, 2));
        assert!(!may_be_handshake(b"G", 1));
        // A record header followed by noise.
        for (at, byte) in [(6, 1), (9, 6), (10, 0x11)] {
            let mut noise = hello;
            noise[at] = byte;
            assert!(!may_be_handshake(&noise, 1), "{at}");
        }
        // A hello in records of one byte each.
        let crumbs = [22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0];
        assert!(is_handshake(&crumbs[..6], 1) && is_handshake(&crumbs, 1));
    }
}
