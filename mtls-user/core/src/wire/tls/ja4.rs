//! JA4, the fingerprint of a ClientHello (FoxIO's technical details of JA4, TLS client).

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use smol_str::{SmolStr, SmolStrBuilder};

use super::hello::{ClientHello, extension, is_grease};
use crate::wire::cursor::u16s;
use crate::wire::text::hex;

/// The transport of a ClientHello: the first letter of its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Carrier {
    /// TLS over TCP.
    Tcp = b't' as isize,
    /// QUIC.
    Quic = b'q' as isize,
    /// DTLS.
    Dtls = b'd' as isize,
}

/// A fingerprint in its binary form: 22 bytes instead of 36.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ja4 {
    head: [u8; 10],
    ciphers: [u8; 6],
    extensions: [u8; 6],
}

impl Ja4 {
    /// The fingerprint of `hello`, seen over `carrier`.
    pub fn of(hello: &ClientHello<'_>, carrier: Carrier) -> Self {
        let mut ciphers: SmallVec<[u16; 64]> =
            u16s(hello.ciphers).filter(|c| !is_grease(*c)).collect();
        let mut extensions: SmallVec<[u16; 32]> = hello
            .extensions()
            .map(|(kind, _)| kind)
            .filter(|kind| !is_grease(*kind))
            .collect();
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
            head: [carrier as u8, v1, v2, domain, c1, c2, e1, e2, a1, a2],
            ciphers: hash(&ciphers, &[]),
            extensions: hash(&extensions, &algorithms),
        }
    }

    /// Its 36-character form.
    pub fn text(&self) -> SmolStr {
        let mut text = SmolStrBuilder::new();
        for b in self.head {
            text.push(char::from(b));
        }
        for part in [self.ciphers, self.extensions] {
            text.push('_');
            for b in part {
                text.push(char::from(hex(b >> 4)));
                text.push(char::from(hex(b)));
            }
        }
        text.finish()
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
        0xfeff => *b"d1",
        0xfefd => *b"d2",
        0xfefc => *b"d3",
        _ => *b"00",
    }
}

fn two_digits(n: usize) -> [u8; 2] {
    let n = n.min(99) as u8;
    [b'0' + n / 10, b'0' + n % 10]
}

/// First and last character of the first protocol, in hexadecimal if they are not letters or
/// digits.
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

/// The first six bytes of the SHA-256 of the numbers in hexadecimal, separated by commas, with the
/// second list after an underscore; zeros if the first is empty.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FoxIO's technical details of JA4.
    #[test]
    fn the_published_example() {
        let ciphers = [
            0x002f, 0x0035, 0x009c, 0x009d, 0x1301, 0x1302, 0x1303, 0xc013, 0xc014, 0xc02b, 0xc02c,
            0xc02f, 0xc030, 0xcca8, 0xcca9,
        ];
        let extensions = [
            0x0005, 0x000a, 0x000b, 0x000d, 0x0012, 0x0015, 0x0017, 0x001b, 0x0023, 0x002b, 0x002d,
            0x0033, 0x4469, 0xff01,
        ];
        let algorithms = [
            0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
        ];
        let ja4 = Ja4 {
            head: *b"t13d1516h2",
            ciphers: hash(&ciphers, &[]),
            extensions: hash(&extensions, &algorithms),
        };
        assert_eq!(ja4.text(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(hash(&[], &[1]), [0; 6]);
    }

    #[test]
    fn protocols_that_are_no_text() {
        assert_eq!(alpn(Some(b"h2")), *b"h2");
        assert_eq!(alpn(Some(b"http/1.1")), *b"h1");
        assert_eq!(alpn(Some(&[0xab, 0xcd])), *b"ad");
        assert_eq!(alpn(None), *b"00");
    }
}
