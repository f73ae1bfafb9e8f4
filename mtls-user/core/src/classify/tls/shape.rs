//! TLS 1.3, mutual or not: the lengths of the client's encrypted records decide.
//!
//! A record with n bytes of handshake messages is n + 1 + 16 bytes long: the inner content type
//! and the AEAD's tag (the caller adds the eight bytes that `TLS_AES_128_CCM_8_SHA256` saves). A
//! client that was asked for no certificate sends Finished alone; one that has none sends an empty
//! Certificate before it; each has its own small set of lengths, also on the stacks that pad
//! (Java's JSSE adds 16 bytes, mbedTLS rounds up to 16). A certificate is far longer.

/// What the first record holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A certificate.
    Certificate,
    /// A raw public key (RFC 7250).
    RawKey,
    /// Finished alone: no certificate was asked for.
    NotAsked,
    /// An empty Certificate: asked for, none given.
    NotGiven,
    /// An alert.
    Alert,
    /// Padding or tiny fragments hide what it is.
    Padded,
    /// No length that a known stack sends.
    Unknown,
    /// More records will tell.
    NeedMore,
}

/// Finished alone: SHA-256 and SHA-384; with JSSE's padding; with mbedTLS'.
fn is_finished(len: u16) -> bool {
    matches!(len, 53 | 69 | 85 | 64 | 80)
}

/// Judges by the lengths of the client's encrypted records after its last ClientHello.
/// `complete`: there will be no more of them.
pub(super) fn judge(records: &[u16], complete: bool) -> Shape {
    let Some(&first) = records.first() else {
        return Shape::NeedMore;
    };
    let all = complete || records.len() >= 3;
    match first {
        80 => match records {
            [80, 80, 80, ..] => Shape::Padded,
            [80] | [80, 80] if !all => Shape::NeedMore,
            _ => Shape::NotAsked,
        },
        53 | 69 | 85 | 64 => Shape::NotAsked,
        25 | 41 | 61 | 77 => Shape::NotGiven,
        32 => match records.get(1) {
            Some(second) if is_finished(*second) => Shape::NotGiven,
            Some(_) => Shape::Alert,
            None if complete => Shape::Alert,
            None => Shape::NeedMore,
        },
        19 | 35 => Shape::Alert,
        150.. => match padding(records) {
            Padding::No => Shape::Certificate,
            Padding::Maybe if !all => Shape::NeedMore,
            Padding::Maybe => Shape::Padded,
        },
        // Too short for an X.509 certificate: a raw public key, if a CertificateVerify and a
        // Finished follow.
        74..=149 => match records {
            [_, second, third, ..] if *second >= 89 && is_finished(*third) => {
                match padding(records) {
                    Padding::No => Shape::RawKey,
                    Padding::Maybe => Shape::Padded,
                }
            }
            [_, second, ..] if *second < 89 => Shape::Unknown,
            _ if all => Shape::Unknown,
            _ => Shape::NeedMore,
        },
        _ => Shape::Unknown,
    }
}

enum Padding {
    No,
    Maybe,
}

/// Whether the client may be padding its records to a block, so that a Finished is as long as the
/// first record. Once it is not, further records cannot make it so: their common divisor only
/// gets smaller.
fn padding(records: &[u16]) -> Padding {
    let inner = |len: u16| len.saturating_sub(16);
    let first = records.first().map_or(0, |len| inner(*len));
    if !first.is_multiple_of(16) {
        return Padding::No;
    }
    let block = records
        .iter()
        .take(3)
        .fold(0, |block, len| gcd(block, inner(*len)));
    let as_long = |finished: u16| block != 0 && finished.next_multiple_of(block) == first;
    if as_long(32 + 4 + 1) || as_long(48 + 4 + 1) {
        Padding::Maybe
    } else {
        Padding::No
    }
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether a record of the server's may be an encrypted alert: plain, with mbedTLS' padding, with
/// JSSE's.
pub(super) fn is_alert(len: u16) -> bool {
    matches!(len, 19 | 32 | 35)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (150, Shape::Certificate),
            (223, Shape::Certificate),
            (2311, Shape::Certificate),
            (30, Shape::Unknown),
            (73, Shape::Unknown),
            (80, Shape::NeedMore),
            (32, Shape::NeedMore),
            (1040, Shape::NeedMore),
            (100, Shape::NeedMore),
        ] {
            assert_eq!(judge(&[first], false), shape, "{first}");
        }
        assert_eq!(judge(&[], true), Shape::NeedMore);
    }

    #[test]
    fn mbedtls_rounds_up() {
        assert_eq!(judge(&[32, 64], false), Shape::NotGiven);
        assert_eq!(judge(&[32, 100], false), Shape::Alert);
        assert_eq!(judge(&[32], true), Shape::Alert);
        assert_eq!(judge(&[80, 48], false), Shape::NotAsked);
        assert_eq!(judge(&[80], true), Shape::NotAsked);
    }

    #[test]
    fn padding_is_never_mutual() {
        // Blocks of 512: a Finished alone, then application data.
        assert_eq!(judge(&[528, 528, 528], false), Shape::Padded);
        assert_eq!(judge(&[528], true), Shape::Padded);
        // The same block, but a first record that no Finished is as long as.
        assert_eq!(judge(&[1040, 528], false), Shape::Certificate);
        // A multiple of 16 by chance.
        assert_eq!(judge(&[1040, 53], false), Shape::Certificate);
        // The smallest fragments that RFC 8449 allows.
        assert_eq!(judge(&[80, 80, 80], false), Shape::Padded);
    }

    #[test]
    fn raw_public_keys() {
        assert_eq!(judge(&[74, 89, 53], false), Shape::RawKey);
        assert_eq!(judge(&[121, 97, 69], false), Shape::RawKey);
        assert_eq!(judge(&[74, 40], false), Shape::Unknown);
        assert_eq!(judge(&[121, 97, 500], false), Shape::Unknown);
        assert_eq!(judge(&[121, 97], true), Shape::Unknown);
    }

    /// Once decided, more records never change the decision.
    #[test]
    fn monotone() {
        let lengths: Vec<u16> = (17..100).chain((100..1300).step_by(4)).collect();
        for &a in &lengths {
            let one = judge(&[a], false);
            for &b in &lengths {
                let two = judge(&[a, b], false);
                assert!(one == Shape::NeedMore || one == two, "{a} {b}");
                for c in [16, 19, 53, 64, 69, 80, 89, 144, 272, 528, 1040] {
                    let three = judge(&[a, b, c], false);
                    assert!(two == Shape::NeedMore || two == three, "{a} {b} {c}");
                    assert_ne!(three, Shape::NeedMore, "{a} {b} {c}");
                    assert_eq!(judge(&[a, b, c, 7], false), three);
                }
            }
        }
    }
}
