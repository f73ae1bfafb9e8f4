//! The tag of a Retry packet (RFC 9001 §5.8, RFC 9369 §3.3.3). It is computed with public keys over
//! the connection ID that the client chose, so its sender must have seen the client's first packet.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::header::{ConnectionId, Kind, Long, Version};

/// Bytes of the tag.
const TAG: usize = 16;

/// The key and the nonce.
fn secrets(version: Version) -> ([u8; 16], [u8; 12]) {
    match version {
        Version::V1 => (
            0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e_u128.to_be_bytes(),
            *b"\x46\x15\x99\xd3\x5d\x63\x2b\xf2\x23\x98\x25\xbb",
        ),
        Version::V2 => (
            0x8fb4_b01b_56ac_48e2_60fb_cbce_ad7c_cc92_u128.to_be_bytes(),
            *b"\xd8\x69\x69\xbc\x2d\x7c\x6d\x99\x90\xef\xb0\x4a",
        ),
    }
}

/// Whether a Retry answers a client whose first packet was for `dcid`. A Retry that was not
/// completely captured does not count.
pub fn is_authentic(retry: &Long<'_>, dcid: &ConnectionId) -> bool {
    if retry.kind != Kind::Retry {
        return false;
    }
    let Some((packet, tag)) = retry.bytes.split_last_chunk::<TAG>() else {
        return false;
    };
    let (key, nonce) = secrets(retry.version);
    let Ok(key) = UnboundKey::new(&AES_128_GCM, &key) else {
        return false;
    };
    let id = dcid.as_slice();
    let pseudo = [&[id.len() as u8], id, packet].concat();
    let mut tag = *tag;
    LessSafeKey::new(key)
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(pseudo),
            &mut tag,
        )
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::quic::{Packet, packets};

    /// RFC 9001 appendix A.4 and RFC 9369 appendix A.4.
    #[test]
    fn the_published_packets() {
        let dcid = ConnectionId::new(b"\x83\x94\xc8\xf0\x3e\x51\x57\x08").unwrap();
        let packets_of: [&[u8]; 2] = [
            b"\xff\0\0\0\x01\0\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5token\
              \x04\xa2\x65\xba\x2e\xff\x4d\x82\x90\x58\xfb\x3f\x0f\x24\x96\xba",
            b"\xcf\x6b\x33\x43\xcf\0\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5token\
              \xc8\x64\x6c\xe8\xbf\xe3\x39\x52\xd9\x55\x54\x36\x65\xdc\xc7\xb6",
        ];
        for bytes in packets_of {
            let authentic =
                |bytes: &[u8], dcid: &ConnectionId| match packets(bytes, bytes.len()).next() {
                    Some(Packet::Long(long)) => is_authentic(&long, dcid),
                    other => panic!("no long header: {other:?}"),
                };
            assert!(authentic(bytes, &dcid));
            assert!(!authentic(bytes, &ConnectionId::new(b"\x83").unwrap()));
            for at in 7..bytes.len() {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1;
                assert!(!authentic(&damaged, &dcid), "{at}");
            }
        }
    }
}
