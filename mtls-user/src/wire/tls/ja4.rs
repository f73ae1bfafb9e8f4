//! JA4, the fingerprint of a ClientHello (FoxIO's technical details of JA4, TLS client).

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::hello::{ClientHello, extension, is_grease};
use crate::wire::cursor::u16s;

/// A fingerprint in its binary form: 22 bytes instead of 36.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ja4 {
    head: [u8; 10],
    ciphers: [u8; 6],
    extensions: [u8; 6],
}

impl Ja4 {
    /// The fingerprint of `hello`, seen over TCP.
    pub fn of(hello: &ClientHello<'_>) -> Self {
        let mut ciphers: SmallVec<[u16; 64]> =
            u16s(hello.ciphers).filter(|c| !is_grease(*c)).collect();
        let mut extensions: SmallVec<[u16; 32]> =
            hello.extension_types().filter(|e| !is_grease(*e)).collect();
        let [v1, v2] = version(hello.highest_version());
        let domain = if extensions.contains(&extension::SERVER_NAME) {
            b'd'
        } else {
            b'i'
        };
        let [c1, c2] = two_digits(ciphers.len());
        let [e1, e2] = two_digits(extensions.len());
        let [a1, a2] = alpn(hello.protocols().next());
        ciphers.sort_unstable();
        extensions.retain(|e| !matches!(*e, extension::SERVER_NAME | extension::ALPN));
        extensions.sort_unstable();
        let algorithms: SmallVec<[u16; 32]> = u16s(hello.signature_algorithms)
            .filter(|a| !is_grease(*a))
            .collect();
        Self {
            head: [b't', v1, v2, domain, c1, c2, e1, e2, a1, a2],
            ciphers: hash(&ciphers, &[]),
            extensions: hash(&extensions, &algorithms),
        }
    }
}

impl std::fmt::Display for Ja4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for b in self.head {
            write!(f, "{}", char::from(b))?;
        }
        for part in [self.ciphers, self.extensions] {
            f.write_str("_")?;
            for b in part {
                write!(f, "{b:02x}")?;
            }
        }
        Ok(())
    }
}

fn version(version: u16) -> [u8; 2] {
    match version {
        0x0304 => *b"13",
        0x0303 => *b"12",
        0x0302 => *b"11",
        0x0301 => *b"10",
        0x0300 => *b"s3",
        0x0002 => *b"s2",
        _ => *b"00",
    }
}

fn two_digits(n: usize) -> [u8; 2] {
    let n = n.min(99) as u8;
    [b'0' + n / 10, b'0' + n % 10]
}

/// First and last character of the first protocol, in hexadecimal where they are no letters or digits.
fn alpn(first: Option<&[u8]>) -> [u8; 2] {
    let (Some(&a), Some(&z)) = (first.and_then(<[u8]>::first), first.and_then(<[u8]>::last)) else {
        return *b"00";
    };
    if a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric() {
        [a, z]
    } else {
        [hex(a >> 4), hex(z & 15)]
    }
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// The first six bytes of the SHA-256 of the numbers in hexadecimal, with commas between, the
/// second list behind an underscore; zeros when the first is empty.
fn hash(first: &[u16], second: &[u16]) -> [u8; 6] {
    if first.is_empty() {
        return [0; 6];
    }
    let mut text: SmallVec<[u8; 512]> = SmallVec::new();
    for (list, separator) in [(first, None), (second, Some(b'_'))] {
        if list.is_empty() {
            continue;
        }
        text.extend(separator);
        for (i, n) in list.iter().enumerate() {
            if i > 0 {
                text.push(b',');
            }
            let [high, low] = n.to_be_bytes();
            text.extend([hex(high >> 4), hex(high), hex(low >> 4), hex(low)]);
        }
    }
    let digest = Sha256::digest(&text);
    std::array::from_fn(|i| digest[i])
}
