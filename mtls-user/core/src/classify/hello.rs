//! The part of a ClientHello that is kept. A client sends the same hello to the same server each
//! time, apart from random numbers and keys, so it is created once and shared by similar flows.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::mesh::{self, Mesh};
use crate::wire::text;
use crate::wire::tls::hello::{extension, protocols};
use crate::wire::tls::{Carrier, ClientHello, Ja4};

/// The kept part of a ClientHello.
#[derive(Clone, Debug, Default)]
pub(super) struct Hello {
    pub(super) server_name: Option<SmolStr>,
    /// The protocols offered by ALPN, of which the first [`text::MAX`] bytes are kept.
    pub(super) alpn: Arc<[SmolStr]>,
    /// The groups offered for the key exchange, of which the first [`MAX_GROUPS`] are kept.
    pub(super) groups: Arc<[u16]>,
    pub(super) ja4: Option<SmolStr>,
    /// The mesh whose fingerprint it has.
    pub(super) mesh: Option<&'static Mesh>,
    pub(super) version: u16,
    pub(super) external_psk: bool,
    pub(super) early_data: bool,
    pub(super) post_handshake_auth: bool,
    pub(super) ech: bool,
    pub(super) framed_as_v2: bool,
    /// An extension that it contains twice.
    pub(super) duplicate: Option<u16>,
    /// Offers that change the lengths of its encrypted flight.
    pub(super) flight: Flight,
}

/// Offers in a ClientHello that change the lengths of the following flight.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Flight {
    /// A raw public key instead of an X.509 certificate (RFC 7250 §3).
    pub(super) raw_key: bool,
    /// Application settings, which the client sends in its own EncryptedExtensions before
    /// everything else (draft-vvv-tls-alps §4).
    pub(super) settings: bool,
    /// A channel ID: a key and a signature, 136 bytes in total (draft-balfanz-tls-channelid).
    pub(super) channel_id: bool,
    /// OpenSSL's order of extensions. It sends one message per record, and since 3.4 it may pad
    /// these to another block than application data (`SSL_CTX_set_block_padding_ex`).
    pub(super) openssl: bool,
    /// How many encrypted records, from the first one on, were written together: each began in the
    /// segment in which the previous one ended. Not part of the hello.
    pub(super) together: usize,
    /// Bytes of the hash of the chosen suite, which is the length of a Finished. None if it is not
    /// known.
    pub(super) hash: Option<u16>,
}

/// Extensions that OpenSSL sends in this order, one directly after the other, in every hello that
/// offers TLS 1.3: no option removes or moves one of them, unlike those of TLS 1.2.
const OPENSSL: [u16; 4] = [
    extension::SIGNATURE_ALGORITHMS,
    extension::SUPPORTED_VERSIONS,
    extension::PSK_KEY_EXCHANGE_MODES,
    extension::KEY_SHARE,
];

/// The place of an extension that OpenSSL sends before or after those, if it sends it (`ext_defs` in
/// `ssl/statem/extensions.c`). `behind`: those were already sent. Since 4.0, the server's name and ALPN
/// follow the key shares. A client that sends its extensions in random order, as rustls does, has them
/// in this order less than once in 100,000 hellos.
fn openssl_place(kind: u16, behind: bool) -> Option<u8> {
    let place = match kind {
        extension::SERVER_NAME if behind => 8,
        extension::ALPN if behind => 9,
        extension::SERVER_NAME => 0,
        // Groups and point formats: versions may differ in their order.
        extension::SUPPORTED_GROUPS | 11 => 1,
        extension::SESSION_TICKET => 2,
        // The certificate's status (RFC 6066 §8).
        5 => 3,
        extension::ALPN => 4,
        // Encrypt-then-MAC (RFC 7366) and the extended master secret (RFC 7627).
        22 => 5,
        23 => 6,
        extension::SIGNATURE_ALGORITHMS => 7,
        _ => return None,
    };
    Some(place)
}

/// More groups than any client offers: some 60 have a number.
const MAX_GROUPS: usize = 64;

/// A raw public key, as a certificate type (RFC 7250 §7).
const RAW_PUBLIC_KEY: u8 = 2;

impl Flight {
    fn of(hello: &ClientHello<'_>) -> Self {
        let mut flight = Self {
            raw_key: hello.client_certificate_types.contains(&RAW_PUBLIC_KEY),
            ..Self::default()
        };
        let mut in_order = 0;
        let (mut place, mut ascends) = (0, true);
        for (kind, _) in hello.extensions() {
            if let Some(next) = openssl_place(kind, flight.openssl) {
                ascends &= place <= next;
                place = next;
            }
            match kind {
                extension::APPLICATION_SETTINGS | extension::APPLICATION_SETTINGS_OLD => {
                    flight.settings = true;
                }
                extension::CHANNEL_ID => flight.channel_id = true,
                _ => {}
            }
            in_order = match OPENSSL.iter().position(|wanted| *wanted == kind) {
                Some(0) => 1,
                Some(place) if place == in_order => place + 1,
                _ => 0,
            };
            flight.openssl |= in_order == OPENSSL.len();
        }
        flight.openssl &= ascends;
        flight
    }
}

impl Hello {
    /// The hello sent to a server's `port`.
    pub(super) fn new(hello: &ClientHello<'_>, port: u16, carrier: Carrier) -> Self {
        let alpn = hello.alpn.unwrap_or_default();
        let alpn = &alpn[..alpn.len().min(text::MAX)];
        let server_name = hello.server_name.map(text::clean);
        Self {
            mesh: Mesh::of(&mesh::Hello {
                server_name: server_name.as_deref().unwrap_or_default(),
                alpn,
                port,
            }),
            server_name,
            alpn: protocols(alpn).map(text::clean).collect(),
            groups: hello.groups().take(MAX_GROUPS).collect(),
            ja4: Some(Ja4::of(hello, carrier).text()),
            version: hello.highest_version(),
            external_psk: is_external(hello),
            early_data: hello.early_data,
            post_handshake_auth: hello.post_handshake_auth,
            ech: hello.ech,
            framed_as_v2: false,
            duplicate: hello.duplicate,
            flight: Flight::of(hello),
        }
    }

    pub(super) fn framed_as_v2(version: u16) -> Self {
        Self {
            version,
            framed_as_v2: true,
            ..Self::default()
        }
    }
}

/// The key under which a hello is shared: a hash of everything that [`Hello::new`] uses.
pub(super) fn name(
    hello: &ClientHello<'_>,
    port: u16,
    carrier: Carrier,
    seed: &impl BuildHasher,
) -> u64 {
    let mut state = seed.build_hasher();
    (carrier, hello.version, hello.ciphers).hash(&mut state);
    Mesh::has_tunnel_at(port).hash(&mut state);
    is_external(hello).hash(&mut state);
    for (kind, data) in hello.extensions() {
        state.write_u16(kind);
        if matches!(
            kind,
            extension::SERVER_NAME
                | extension::ALPN
                | extension::SIGNATURE_ALGORITHMS
                | extension::SUPPORTED_VERSIONS
                | extension::SUPPORTED_GROUPS
                | extension::CLIENT_CERTIFICATE_TYPE
        ) {
            data.hash(&mut state);
        }
    }
    state.finish()
}

/// Whether a pre-shared key is offered that is not a resumption: tickets have an age, which is
/// obfuscated by a random number (RFC 8446 §4.2.11).
fn is_external(hello: &ClientHello<'_>) -> bool {
    hello.psk.is_some_and(|psk| psk.age == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_openssl(kinds: &[u16]) -> bool {
        let mut extensions = Vec::new();
        for kind in kinds {
            extensions.extend(kind.to_be_bytes());
            extensions.extend([0, 0]);
        }
        let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        Flight::of(&ClientHello::parse(&body).expect("a hello")).openssl
    }

    /// Hellos of OpenSSL 3.0 and 4.0 with every option that adds an extension; rustls and Go.
    #[test]
    fn openssl_is_known_by_the_order_of_its_extensions() {
        for hello in [
            &[0, 11, 10, 35, 22, 23, 13, 43, 45, 51][..],
            &[65281, 0, 11, 10, 35, 5, 16, 22, 23, 49, 13, 43, 45, 51, 21],
            &[65281, 11, 10, 35, 22, 23, 13, 43, 45, 51, 0],
            &[65281, 11, 10, 35, 5, 14, 22, 23, 13, 43, 45, 51, 0, 16],
            &[10, 35, 5, 22, 23, 13, 43, 45, 51, 16, 41],
        ] {
            assert!(is_openssl(hello), "{hello:?}");
        }
        for hello in [
            &[43, 51, 10, 13, 45, 0, 5, 23, 35][..],
            &[0, 5, 10, 11, 13, 65281, 18, 43, 51],
            // The order of 4.0 only behind the key shares.
            &[11, 0, 10, 35, 22, 23, 13, 43, 45, 51],
            &[11, 10, 35, 22, 23, 13, 43, 45, 51, 16, 0],
            &[11, 10, 13, 43, 45, 51, 23, 0],
        ] {
            assert!(!is_openssl(hello), "{hello:?}");
        }
    }
}
