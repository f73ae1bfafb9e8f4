//! `ClientHello` and `ServerHello` (RFC 8446 §4.1, RFC 5246 §7.4.1), in any version, borrowed.
//!
//! As lenient as endpoints: a malformed extension is treated as absent; a hello whose own framing
//! is broken is rejected.

use crate::wire::cursor::{Cursor, u16s};

/// Extension numbers (IANA, "TLS ExtensionType Values").
pub mod extension {
    #![expect(missing_docs, reason = "the names are IANA's")]
    pub const SERVER_NAME: u16 = 0;
    pub const SUPPORTED_GROUPS: u16 = 10;
    pub const ALPN: u16 = 16;
    pub const CLIENT_CERTIFICATE_TYPE: u16 = 19;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const USE_SRTP: u16 = 14;
    pub const SESSION_TICKET: u16 = 35;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub const POST_HANDSHAKE_AUTH: u16 = 49;
    pub const KEY_SHARE: u16 = 51;
    pub const CONNECTION_ID: u16 = 54;
    /// Application settings (draft-vvv-tls-alps), with Chrome's numbers until 2024 and since.
    pub const APPLICATION_SETTINGS_OLD: u16 = 17513;
    pub const APPLICATION_SETTINGS: u16 = 17613;
    /// draft-balfanz-tls-channelid.
    pub const CHANNEL_ID: u16 = 30032;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

/// Whether a value is one that clients send to keep servers tolerant (GREASE, RFC 8701).
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// The ClientHello extensions that are parsed.
const READ: [u16; 10] = [
    extension::SERVER_NAME,
    extension::ALPN,
    extension::SIGNATURE_ALGORITHMS,
    extension::CLIENT_CERTIFICATE_TYPE,
    extension::SESSION_TICKET,
    extension::PRE_SHARED_KEY,
    extension::EARLY_DATA,
    extension::SUPPORTED_VERSIONS,
    extension::POST_HANDSHAKE_AUTH,
    extension::ENCRYPTED_CLIENT_HELLO,
];

/// The first pre-shared key that a client offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferedPsk {
    /// Length of its identity.
    pub identity_len: u16,
    /// `obfuscated_ticket_age`: zero for keys that are not resumptions.
    pub age: u32,
}

/// What a client offers.
#[derive(Clone, Debug)]
pub struct ClientHello<'a> {
    /// `legacy_version`.
    pub version: u16,
    /// `legacy_session_id`.
    pub session_id: &'a [u8],
    /// Cipher suites, two bytes each.
    pub ciphers: &'a [u8],
    /// All extensions, framing included.
    pub extensions: &'a [u8],
    /// The requested host name.
    pub server_name: Option<&'a [u8]>,
    /// The list of protocols, each with its length prefix.
    pub alpn: Option<&'a [u8]>,
    /// Signature algorithms, two bytes each.
    pub signature_algorithms: &'a [u8],
    /// Versions, two bytes each; empty before 1.3.
    pub versions: &'a [u8],
    /// The session ticket offered (≤ 1.2), if it is not empty.
    pub ticket: Option<&'a [u8]>,
    /// The first pre-shared key offered.
    pub psk: Option<OfferedPsk>,
    /// Early data follows immediately.
    pub early_data: bool,
    /// Whether post-handshake authentication is possible.
    pub post_handshake_auth: bool,
    /// Encrypted ClientHello, or GREASE that looks like it.
    pub ech: bool,
    /// Kinds of certificates the client may present, one byte each (RFC 7250 §3).
    pub client_certificate_types: &'a [u8],
    /// A parsed extension that occurs twice, which RFC 8446 §4.2 forbids: the first one counts.
    pub duplicate: Option<u16>,
}

impl<'a> ClientHello<'a> {
    /// The hello in the `body` of a handshake message of type 1.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        Self::read(body, false)
    }

    /// The same for DTLS, whose hello contains a cookie (RFC 6347 §4.2.1) and whose version numbers
    /// decrease.
    pub fn parse_dtls(body: &'a [u8]) -> Option<Self> {
        Self::read(body, true)
    }

    fn read(body: &'a [u8], dtls: bool) -> Option<Self> {
        let mut c = Cursor::new(body);
        let version = c.u16()?;
        c.take(32)?;
        let session_id = c.vec8().filter(|id| id.len() <= 32)?;
        if dtls {
            c.vec8()?;
        }
        let ciphers = c.vec16().filter(|list| list.len() >= 2)?;
        c.vec8().filter(|methods| !methods.is_empty())?;
        // Extensions came after TLS 1.0; before, a hello ends here.
        let extensions = if c.is_empty() { &[][..] } else { c.vec16()? };
        let mut hello = Self {
            version,
            session_id,
            ciphers,
            extensions,
            server_name: None,
            alpn: None,
            signature_algorithms: &[],
            versions: &[],
            ticket: None,
            psk: None,
            early_data: false,
            post_handshake_auth: false,
            ech: false,
            client_certificate_types: &[],
            duplicate: None,
        };
        let mut seen = 0;
        for (kind, data) in Extensions(Cursor::new(extensions)) {
            let bit = READ.iter().position(|read| *read == kind);
            let bit = bit.map_or(0, |at| 1_u32 << at);
            if seen & bit != 0 {
                hello.duplicate.get_or_insert(kind);
            } else if bit != 0 {
                hello.extension(kind, data);
            }
            seen |= bit;
        }
        let known = if dtls {
            is_dtls(version)
        } else {
            version >> 8 == 3 || version == 2
        };
        known.then_some(hello)
    }

    fn extension(&mut self, kind: u16, data: &'a [u8]) {
        let mut c = Cursor::new(data);
        match kind {
            extension::SERVER_NAME => self.server_name = host_name(data),
            extension::ALPN => self.alpn = c.vec16(),
            extension::SIGNATURE_ALGORITHMS => {
                self.signature_algorithms = c.vec16().unwrap_or_default();
            }
            extension::SUPPORTED_VERSIONS => self.versions = c.vec8().unwrap_or_default(),
            extension::SESSION_TICKET => self.ticket = (!data.is_empty()).then_some(data),
            extension::PRE_SHARED_KEY => {
                // A list that cannot be parsed is still an offer.
                self.psk = Some(first_psk(data).unwrap_or(OfferedPsk {
                    identity_len: u16::MAX,
                    age: u32::MAX,
                }));
            }
            extension::EARLY_DATA => self.early_data = true,
            extension::POST_HANDSHAKE_AUTH => self.post_handshake_auth = true,
            extension::ENCRYPTED_CLIENT_HELLO => self.ech = true,
            extension::CLIENT_CERTIFICATE_TYPE => {
                self.client_certificate_types = c.vec8().unwrap_or_default();
            }
            _ => {}
        }
    }

    /// The extensions, each as its number and its data, in order.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        Extensions(Cursor::new(self.extensions))
    }

    /// The protocols offered, in order.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        protocols(self.alpn.unwrap_or_default())
    }

    /// The highest version offered, ignoring GREASE.
    pub fn highest_version(&self) -> u16 {
        let offered = u16s(self.versions).filter(|v| !is_grease(*v));
        let highest = if is_dtls(self.version) {
            offered.filter(|v| is_dtls(*v)).min()
        } else {
            offered.max()
        };
        highest.unwrap_or(self.version)
    }

    /// The groups offered for the key exchange, in order, ignoring GREASE (RFC 8446 §4.2.7).
    pub fn groups(&self) -> impl Iterator<Item = u16> + use<'a> {
        let mut extensions = self.extensions();
        let data = extensions
            .find_map(|(kind, data)| (kind == extension::SUPPORTED_GROUPS).then_some(data));
        let list = data.and_then(|data| Cursor::new(data).vec16());
        u16s(list.unwrap_or_default()).filter(|group| !is_grease(*group))
    }

    /// Whether the suite is among those offered.
    pub fn offers(&self, cipher: u16) -> bool {
        u16s(self.ciphers).any(|c| c == cipher)
    }
}

/// The protocols of an ALPN list (RFC 7301 §3.1).
pub fn protocols(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut c = Cursor::new(list);
    std::iter::from_fn(move || c.vec8().filter(|name| !name.is_empty()))
}

struct Extensions<'a>(Cursor<'a>);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.u16()?, self.0.vec16()?))
    }
}

fn host_name(data: &[u8]) -> Option<&[u8]> {
    let mut list = Cursor::new(Cursor::new(data).vec16()?);
    while let Some(kind) = list.u8() {
        let name = list.vec16()?;
        if kind == 0 {
            return Some(name);
        }
    }
    None
}

fn first_psk(data: &[u8]) -> Option<OfferedPsk> {
    let mut identities = Cursor::new(Cursor::new(data).vec16()?);
    let identity_len = identities.vec16()?.len() as u16;
    let age = identities.u32()?;
    Some(OfferedPsk { identity_len, age })
}

/// The random of a `ServerHello` that is a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a server chose.
#[derive(Clone, Debug)]
pub struct ServerHello<'a> {
    /// The version in use: the one of `supported_versions`, else `legacy_version`.
    pub version: u16,
    /// Session id: a new one, or an echo.
    pub session_id: &'a [u8],
    /// The cipher suite.
    pub cipher: u16,
    /// Named group of the key exchange (1.3).
    pub group: Option<u16>,
    /// Index of the accepted pre-shared key.
    pub psk: Option<u16>,
    /// The protocol chosen, if it is visible (≤ 1.2).
    pub alpn: Option<&'a [u8]>,
    /// It asks for a second ClientHello.
    pub retry: bool,
    /// All extensions, framing included.
    pub extensions: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// The hello in the `body` of a handshake message of type 2.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        Self::read(body).filter(|hello| matches!(hello.version >> 8, 3 | 0x7f))
    }

    /// The same for DTLS.
    pub fn parse_dtls(body: &'a [u8]) -> Option<Self> {
        Self::read(body).filter(|hello| is_dtls(hello.version))
    }

    fn read(body: &'a [u8]) -> Option<Self> {
        let mut c = Cursor::new(body);
        let version = c.u16()?;
        let random = c.take(32)?;
        // Drafts of 1.3 before 22 had their number here and no session id.
        let early_draft = version >> 8 == 0x7f;
        let session_id = if early_draft { &[] } else { c.vec8()? };
        let cipher = c.u16()?;
        if !early_draft {
            c.u8()?;
        }
        let extensions = if c.is_empty() { &[][..] } else { c.vec16()? };
        let mut hello = Self {
            version,
            session_id,
            cipher,
            group: None,
            psk: None,
            alpn: None,
            retry: random == RETRY,
            extensions,
        };
        for (kind, data) in Extensions(Cursor::new(extensions)) {
            let mut c = Cursor::new(data);
            match kind {
                extension::SUPPORTED_VERSIONS => hello.version = c.u16().unwrap_or(version),
                extension::KEY_SHARE => hello.group = c.u16(),
                extension::PRE_SHARED_KEY => hello.psk = c.u16(),
                extension::ALPN => hello.alpn = c.vec16().and_then(|l| protocols(l).next()),
                _ => {}
            }
        }
        (session_id.len() <= 32).then_some(hello)
    }

    /// The extensions, each as its number and its data, in order.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        Extensions(Cursor::new(self.extensions))
    }

    /// TLS 1.3, or a draft of it.
    pub fn is_13(&self) -> bool {
        is_13(self.version)
    }
}

/// Whether a version number is that of TLS 1.3, one of its drafts, or DTLS 1.3.
pub fn is_13(version: u16) -> bool {
    matches!(version, 0x0304 | 0xfefc) || version >> 8 == 0x7f
}

/// Whether a version number is one of DTLS.
pub fn is_dtls(version: u16) -> bool {
    matches!(version, 0xfeff | 0xfefd | 0xfefc)
}

/// A ClientHello in SSL 2.0 framing (RFC 5246 appendix E.2), which may offer any version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V2Hello {
    /// The version offered: 2 for SSL 2.0 itself.
    pub version: u16,
    /// Bytes of the whole record.
    pub size: usize,
}

impl V2Hello {
    /// The hello at the start of `bytes`: `Some(None)` while there are too few bytes to decide.
    pub fn at(bytes: &[u8]) -> Option<Option<Self>> {
        let mut c = Cursor::new(bytes);
        let Some(first) = c.u16() else {
            return (bytes.is_empty() || bytes[0] & 0x80 != 0).then_some(None);
        };
        let len = usize::from(first & 0x7fff);
        if first & 0x8000 == 0 || !(12..=4096).contains(&len) {
            return None;
        }
        let Some(kind) = c.u8() else {
            return Some(None);
        };
        if kind != 1 {
            return None;
        }
        let (Some(version), Some(ciphers), Some(id), Some(challenge)) =
            (c.u16(), c.u16(), c.u16(), c.u16())
        else {
            return Some(None);
        };
        let plausible = (version == 2 || version >> 8 == 3 && version & 0xff <= 4)
            && ciphers > 0
            && ciphers % 3 == 0
            && matches!(id, 0 | 16 | 32)
            && (16..=32).contains(&challenge)
            && 9 + usize::from(ciphers) + usize::from(id) + usize::from(challenge) == len;
        plausible.then_some(Some(Self {
            version,
            size: 2 + len,
        }))
    }
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
