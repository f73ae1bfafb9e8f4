//! Record headers (RFC 8446 §5.1, RFC 5246 §6.2.1).

/// What a record carries, as its header says.
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
    /// What the record says it carries.
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

    /// The header that `bytes` are; `None` when no version of TLS could have sent it.
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

    /// The header at the start of `bytes`: `None` when there are fewer than five.
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

/// The bytes are no TLS record header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotTls;

/// Whether `bytes` begin with a record that carries a handshake message of type `message`.
pub fn is_handshake(bytes: &[u8], message: u8) -> bool {
    bytes.len() > RecordHeader::LEN && may_be_handshake(bytes, message)
}

/// Whether `bytes` may be the start of a record that carries a handshake message of type
/// `message`: false as soon as one byte says otherwise.
pub fn may_be_handshake(bytes: &[u8], message: u8) -> bool {
    let [mut kind, mut major, mut minor, mut first] = [true; 4];
    if let Some(b) = bytes.first() {
        kind = *b == 22;
    }
    if let Some(b) = bytes.get(1) {
        major = *b == 3;
    }
    if let Some(b) = bytes.get(2) {
        minor = *b <= 4;
    }
    if let Some(b) = bytes.get(5) {
        first = *b == message;
    }
    kind && major && minor && first
}

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
        let hello = [22, 3, 1, 2, 0, 1];
        for n in 0..=hello.len() {
            assert!(may_be_handshake(&hello[..n], 1));
            assert_eq!(is_handshake(&hello[..n], 1), n == hello.len());
        }
        assert!(!may_be_handshake(&hello, 2));
        assert!(!may_be_handshake(b"G", 1));
    }
}
