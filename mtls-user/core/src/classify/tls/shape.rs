//! TLS 1.3, mutual or not: decided by the lengths of the client's encrypted records.
//!
//! A record with n bytes of handshake messages is n + 1 + 16 bytes long: the inner content type and
//! the AEAD's tag (the caller adds the eight bytes that suites with short tags save). A client
//! without a certificate request sends only Finished; one without a certificate sends an empty
//! Certificate before it. Each case has its own small set of lengths, also on the stacks that pad
//! (Java's JSSE adds 16 bytes, mbedTLS rounds up to 16). A certificate is far longer, and so is a
//! Finished that is padded to a large block: a later record distinguishes these
//! ([`super::padding`]).

use super::padding::{self, ONE_BLOCK};
use crate::classify::hello::Flight;

/// The contents of the first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A certificate.
    Certificate,
    /// A raw public key (RFC 7250).
    RawKey,
    /// Finished alone, or after application settings: no certificate was requested.
    NotAsked,
    /// An empty Certificate: requested, none sent.
    NotGiven,
    /// An alert.
    Alert,
    /// A certificate, or a Finished padded to a block of that length.
    Padded,
    /// Fragments too small to decide anything.
    Fragments,
    /// Early data that the server rejected, or a certificate.
    EarlyData,
    /// Application settings, or a certificate.
    Settings,
    /// A length that no known stack sends.
    Unknown,
    /// The next records decide.
    NeedMore,
}

/// The length of a Finished alone: unpadded; with JSSE's 16 bytes of padding; rounded up to 16, as
/// in mbedTLS.
fn is_finished(len: u16, hash: Option<u16>) -> bool {
    let fits = |hash: u16| {
        let inner = hash + 4 + 1;
        [inner, inner + 16, inner.next_multiple_of(16)].contains(&len.saturating_sub(16))
    };
    hash.map_or_else(|| fits(32) || fits(48), fits)
}

/// The least length of a CertificateVerify alone: with Ed25519.
const VERIFY: u16 = 89;

/// Decides by the lengths of the client's encrypted records after its last ClientHello. `complete`:
/// there will be no more of them.
pub(super) fn judge(records: &[u16], complete: bool, flight: Flight) -> Shape {
    let Some(&first) = records.first() else {
        return Shape::NeedMore;
    };
    let all = complete || records.len() >= 3;
    match first {
        // Rounded up to 16; or to 64, where an empty Certificate is equally long.
        80 => match records {
            [80, 80, 80, ..] => Shape::Fragments,
            [80, 80] if complete => Shape::Fragments,
            [80] | [80, 80] if !all => Shape::NeedMore,
            _ if is_finished(first, flight.hash) => Shape::NotAsked,
            _ => Shape::Unknown,
        },
        _ if is_finished(first, flight.hash) => Shape::NotAsked,
        // EncryptedExtensions with an empty list of settings, as in Chrome.
        63 | 79 if flight.settings && is_finished(first - 10, flight.hash) => Shape::NotAsked,
        25 | 41 => Shape::NotGiven,
        // Together with a Finished.
        61 | 77 if is_finished(first - 8, flight.hash) => Shape::NotGiven,
        32 => match records.get(1) {
            Some(second) if is_finished(*second, flight.hash) => Shape::NotGiven,
            Some(_) => Shape::Alert,
            None if complete => Shape::Alert,
            None => Shape::NeedMore,
        },
        19 | 35 => Shape::Alert,
        // Finished after a channel ID, and after settings as well.
        189 | 205 | 199 | 215 if flight.channel_id => Shape::Unknown,
        ONE_BLOCK.. if flight.settings => Shape::Settings,
        ONE_BLOCK.. if is_certificate(records, flight) => Shape::Certificate,
        ONE_BLOCK.. if complete => Shape::Padded,
        ONE_BLOCK.. => Shape::NeedMore,
        // Too short for an X.509 certificate: a raw public key, if a CertificateVerify and a
        // Finished follow.
        74.. if flight.raw_key => match records {
            [_, second, third, ..] if *second >= VERIFY && is_finished(*third, flight.hash) => {
                if padding::explains(&records[..3]) || flight.openssl && flight.together < 3 {
                    Shape::Padded
                } else {
                    Shape::RawKey
                }
            }
            [_, second, ..] if *second < VERIFY => Shape::Unknown,
            _ if all => Shape::Unknown,
            _ => Shape::NeedMore,
        },
        _ => Shape::Unknown,
    }
}

/// Whether a first record of a certificate's length is a certificate.
fn is_certificate(records: &[u16], flight: Flight) -> bool {
    if flight.openssl {
        // Application data, which may be as long as a Finished, does not show how the handshake was
        // padded: only the other messages of the flight do. They are written together, and a
        // Finished ends what is written together. A flight in blocks proves nothing, as a program
        // may send its data with the Finished, padded to a block that divides the handshake's.
        let written = &records[..records.len().min(flight.together)];
        let ends = |pair: &[u16]| pair[0] >= VERIFY && is_finished(pair[1], flight.hash);
        return written
            .get(1..)
            .is_some_and(|rest| rest.windows(2).any(ends));
    }
    padding::is_excluded(records)
}

/// Decides if early data was offered and rejected. The client may continue to send it after its TCP
/// has acknowledged a ServerHello that it has not read yet, so only a length that is unlikely for
/// early data marks the start of its flight.
pub(super) fn judge_behind_early_data(records: &[u16], complete: bool, flight: Flight) -> Shape {
    match judge(records, complete, flight) {
        Shape::NeedMore if records.is_empty() => Shape::NeedMore,
        kept @ (Shape::NotAsked | Shape::NotGiven) => kept,
        Shape::Alert if complete && records.len() == 1 => Shape::Alert,
        Shape::NeedMore if !complete && records[0] < ONE_BLOCK => Shape::NeedMore,
        _ => Shape::EarlyData,
    }
}

/// Whether a record of the server may be an encrypted alert: unpadded, with mbedTLS' padding, or
/// with JSSE's.
pub(super) fn is_alert(len: u16) -> bool {
    matches!(len, 19 | 32 | 35)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Flight = Flight {
        raw_key: false,
        settings: false,
        channel_id: false,
        openssl: false,
        together: 1,
        hash: None,
    };
    const RAW_KEY: Flight = Flight {
        raw_key: true,
        ..PLAIN
    };
    const SETTINGS: Flight = Flight {
        settings: true,
        ..PLAIN
    };
    const OPENSSL: Flight = Flight {
        openssl: true,
        together: 8,
        ..PLAIN
    };
    /// What follows the first record was written after it.
    const APART: Flight = Flight {
        together: 1,
        ..OPENSSL
    };

    #[test]
    fn the_first_record_decides() {
        for (first, shape) in [
            (53, Shape::NotAsked),
            (69, Shape::NotAsked),
            (85, Shape::NotAsked),
            (64, Shape::NotAsked),
            (25, Shape::NotGiven),
            (41, Shape::NotGiven),
            (61, Shape::NotGiven),
            (77, Shape::NotGiven),
            (19, Shape::Alert),
            (35, Shape::Alert),
            (30, Shape::Unknown),
            (73, Shape::Unknown),
            (100, Shape::Unknown),
            (80, Shape::NeedMore),
            (32, Shape::NeedMore),
            (150, Shape::NeedMore),
            (223, Shape::NeedMore),
            (1040, Shape::NeedMore),
        ] {
            assert_eq!(judge(&[first], false, PLAIN), shape, "{first}");
        }
        assert_eq!(judge(&[], true, PLAIN), Shape::NeedMore);
    }

    #[test]
    fn mbedtls_rounds_up() {
        assert_eq!(judge(&[32, 64], false, PLAIN), Shape::NotGiven);
        assert_eq!(judge(&[32, 100], false, PLAIN), Shape::Alert);
        assert_eq!(judge(&[32], true, PLAIN), Shape::Alert);
        assert_eq!(judge(&[80, 48], false, PLAIN), Shape::NotAsked);
        assert_eq!(judge(&[80], true, PLAIN), Shape::NotAsked);
    }

    /// An empty Certificate padded to a block is as long as the other hash's Finished.
    #[test]
    fn the_hash_says_which_finished() {
        let of = |first: &[u16], hash| {
            judge(
                first,
                true,
                Flight {
                    hash: Some(hash),
                    ..PLAIN
                },
            )
        };
        for (first, sha256, sha384) in [
            (53, Shape::NotAsked, Shape::Unknown),
            (64, Shape::NotAsked, Shape::Unknown),
            (69, Shape::NotAsked, Shape::NotAsked),
            (85, Shape::Unknown, Shape::NotAsked),
            (80, Shape::Unknown, Shape::NotAsked),
            (61, Shape::NotGiven, Shape::Unknown),
            (77, Shape::NotGiven, Shape::NotGiven),
        ] {
            assert_eq!(of(&[first], 32), sha256, "{first}");
            assert_eq!(of(&[first], 48), sha384, "{first}");
        }
        assert_eq!(of(&[80, 80], 48), Shape::Fragments);
    }

    #[test]
    fn padding_is_never_mutual() {
        // A Finished padded to a block, then application data: any block.
        for first in ONE_BLOCK..2000 {
            let block = first - 16;
            for flight in [PLAIN, OPENSSL, RAW_KEY] {
                for records in [&[first][..], &[first; 8], &[first, first, first + block]] {
                    assert_eq!(judge(records, true, flight), Shape::Padded, "{records:?}");
                    assert_eq!(judge(records, false, flight), Shape::NeedMore);
                }
            }
        }
        // Longer than one block: not a Finished.
        assert_eq!(judge(&[1040, 528], false, PLAIN), Shape::Certificate);
        assert_eq!(judge(&[1040, 528, 528], false, PLAIN), Shape::Certificate);
        // A multiple of 16 by chance.
        assert_eq!(judge(&[1040, 53], false, PLAIN), Shape::Certificate);
        // The smallest fragments that RFC 8449 allows.
        assert_eq!(judge(&[80, 80, 80], false, PLAIN), Shape::Fragments);
    }

    /// OpenSSL may pad only the handshake: then application data proves nothing, even if it is as
    /// long as a Finished, or padded to blocks of its own.
    #[test]
    fn handshake_padded_apart() {
        for records in [
            &[216, 69, 317, 19][..],
            &[216, 53, 317],
            &[216, 281, 69],
            &[216, 116, 116],
            &[816, 216, 216],
        ] {
            assert_eq!(judge(records, true, APART), Shape::Padded, "{records:?}");
            assert_eq!(judge(records, false, APART), Shape::NeedMore, "{records:?}");
        }
        let raw_key = Flight {
            raw_key: true,
            ..APART
        };
        assert_eq!(judge(&[116, 281, 69], true, raw_key), Shape::Padded);
        assert_eq!(judge(&[516, 90, 35, 19], true, OPENSSL), Shape::Padded);
        assert_eq!(judge(&[516, 516, 90, 19], true, OPENSSL), Shape::Padded);
        assert_eq!(judge(&[869, 96, 69], false, OPENSSL), Shape::Certificate);
        // As with `RecordPadding = 300,600`, joined or not: data, or CertificateVerify and Finished.
        for records in [
            &[616, 316, 316][..],
            &[1040, 528, 528],
            &[616, 316, 616, 316],
        ] {
            assert_eq!(judge(records, true, OPENSSL), Shape::Padded, "{records:?}");
        }
        // A program that keeps what OpenSSL writes may send the Finished with its first data, but
        // not with its second.
        let two = Flight {
            together: 2,
            ..OPENSSL
        };
        for records in [&[216, 281, 69][..], &[616, 316, 316, 316], &[116, 281, 69]] {
            assert_eq!(
                judge(
                    records,
                    true,
                    Flight {
                        raw_key: true,
                        ..two
                    }
                ),
                Shape::Padded,
                "{records:?}"
            );
        }
        let fragments = [529, 365, 96, 69];
        assert_eq!(judge(&fragments, false, OPENSSL), Shape::Certificate);
    }

    #[test]
    fn raw_public_keys_only_where_offered() {
        assert_eq!(judge(&[74, 89, 53], false, RAW_KEY), Shape::RawKey);
        assert_eq!(judge(&[121, 97, 69], false, RAW_KEY), Shape::RawKey);
        assert_eq!(judge(&[74, 40], false, RAW_KEY), Shape::Unknown);
        assert_eq!(judge(&[121, 97, 500], false, RAW_KEY), Shape::Unknown);
        assert_eq!(judge(&[121, 97], true, RAW_KEY), Shape::Unknown);
        // Padded to 37 bytes: Finished, then application data.
        assert_eq!(judge(&[90, 90, 53], false, RAW_KEY), Shape::Padded);
        for flight in [PLAIN, SETTINGS, OPENSSL] {
            assert_eq!(judge(&[121, 97, 69], false, flight), Shape::Unknown);
        }
    }

    #[test]
    fn settings_lengthen_the_flight() {
        assert_eq!(judge(&[63], false, SETTINGS), Shape::NotAsked);
        assert_eq!(judge(&[79, 120, 53], false, SETTINGS), Shape::NotAsked);
        assert_eq!(judge(&[63], false, PLAIN), Shape::Unknown);
        assert_eq!(judge(&[887, 53], false, SETTINGS), Shape::Settings);
    }

    #[test]
    fn a_channel_id_is_no_certificate() {
        let offered = Flight {
            channel_id: true,
            ..PLAIN
        };
        assert_eq!(judge(&[189, 90], false, offered), Shape::Unknown);
        assert_eq!(judge(&[887, 90], false, offered), Shape::Certificate);
    }

    #[test]
    fn refused_early_data() {
        let judge = |records, complete| judge_behind_early_data(records, complete, OPENSSL);
        assert_eq!(judge(&[], false), Shape::NeedMore);
        assert_eq!(judge(&[69, 300], false), Shape::NotAsked);
        assert_eq!(judge(&[25, 69], false), Shape::NotGiven);
        assert_eq!(judge(&[19], true), Shape::Alert);
        for records in [&[3017, 69][..], &[712, 96, 69], &[19, 69], &[100], &[1040]] {
            assert_eq!(judge(records, false), Shape::EarlyData, "{records:?}");
        }
    }

    /// Once decided, more records never change the decision.
    #[test]
    fn monotone() {
        let lengths: Vec<u16> = (17..100).chain((100..1300).step_by(4)).collect();
        for flight in [PLAIN, RAW_KEY, SETTINGS, OPENSSL] {
            let judge = |records: &[u16]| judge(records, false, flight);
            for &a in &lengths {
                let one = judge(&[a]);
                for &b in &lengths {
                    let two = judge(&[a, b]);
                    assert!(one == Shape::NeedMore || one == two, "{a} {b}");
                    for c in [16, 19, 53, 64, 69, 80, 89, 144, 272, 528, 1040] {
                        let three = judge(&[a, b, c]);
                        assert!(two == Shape::NeedMore || two == three, "{a} {b} {c}");
                        assert!(three != Shape::NeedMore || a >= ONE_BLOCK, "{a} {b} {c}");
                        let four = judge(&[a, b, c, 7]);
                        assert!(three == Shape::NeedMore || three == four, "{a} {b} {c}");
                    }
                }
            }
        }
    }
}
