//! Syslog over TCP (RFC 6587 §3.4, RFC 5424 §6, RFC 3164 §4.1): a priority, and a version or a
//! month; a byte count may precede it. RELP: a number and `open`.

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::range(b'0', b'9').or(First::of(b"<")), syslog),
    Recogniser::new(First::of(b"1"), relp),
];

const MONTHS: [&[u8]; 12] = [
    b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
    b"Nov ", b"Dec ",
];

fn syslog(client: &[u8], _server: &[u8]) -> Match {
    let (count, rest) = digits(client);
    let rest = match (count, rest.split_first()) {
        (1..=5, Some((b' ', rest))) => rest,
        (1..=5, None) => return Match::More,
        (0, _) => rest,
        _ => return Match::No,
    };
    let Some((b'<', rest)) = rest.split_first() else {
        return if rest.is_empty() {
            Match::More
        } else {
            Match::No
        };
    };
    let (count, behind) = digits(rest);
    let priority = rest[..count.min(3)]
        .iter()
        .fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    let rest = match (count, behind.split_first()) {
        (1..=3, Some((b'>', rest))) if priority <= 191 => rest,
        (0..=3, None) => return Match::More,
        _ => return Match::No,
    };
    if rest.is_empty() {
        return Match::More;
    }
    let version = match starts(rest, b"1 ") {
        Shape::Yes => match rest.get(2) {
            Some(b) if b.is_ascii_digit() || *b == b'-' => Shape::Yes,
            Some(_) => Shape::No,
            None => Shape::More,
        },
        other => other,
    };
    let found = MONTHS.iter().map(|month| starts(rest, month));
    let found = found.chain([version]).max_by_key(|shape| *shape as u8);
    found.unwrap_or(Shape::No).then(Match::Yes("syslog"))
}

/// The number of digits at the start, and what follows them.
fn digits(bytes: &[u8]) -> (usize, &[u8]) {
    let count = bytes.iter().take(8).take_while(|b| b.is_ascii_digit());
    let count = count.count();
    (count, &bytes[count..])
}

/// The first RELP frame (its protocol description, "open"): transaction 1.
fn relp(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, b"1 open ") {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let (count, rest) = digits(&client[7..]);
    match count {
        _ if rest.is_empty() => Match::More,
        1..=4 => starts(rest, b" relp_version=").then(Match::Yes("relp")),
        _ => Match::No,
    }
}
