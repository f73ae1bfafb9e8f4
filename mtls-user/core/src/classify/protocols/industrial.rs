//! Industrial protocols whose first message has a fixed form: Modbus, DNP3, IEC 60870-5-104.

use super::{First, Match, Recogniser, Shape, shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::ANY, modbus),
    Recogniser::new(First::of(&[5]), dnp3),
    Recogniser::new(First::of(&[0x68]), iec104),
];

/// Modbus Application Protocol over TCP (implementation guide, §3.1.3): transaction, protocol 0,
/// length, unit, function. The response echoes the first seven bytes except the length.
fn modbus(client: &[u8], server: &[u8]) -> Match {
    let head = [None, None, Some(0), Some(0), Some(0), None, None, None];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let function = client[7];
    let len = usize::from(client[5]);
    // Reads and single writes both have five bytes after unit and function.
    let fits = match function {
        1..=6 => len == 6,
        7 | 11 | 12 | 17 => len == 2,
        8 => len >= 6,
        15 | 16 => len >= 8,
        20..=24 | 43 => len >= 3,
        _ => false,
    };
    if !fits || client.len() < 6 + len {
        return if fits { Match::More } else { Match::No };
    }
    let answer = [
        Some(client[0]),
        Some(client[1]),
        Some(0),
        Some(0),
        Some(0),
        None,
        Some(client[6]),
    ];
    match (shape(server, &answer), server.get(7)) {
        (Shape::No, _) => Match::No,
        (Shape::Yes, Some(code)) => Match::of(code & 0x7f == function, "modbus"),
        _ => Match::More,
    }
}

/// DNP3's link layer (IEEE 1815 §9.2): start, length, control, two addresses, a checksum.
fn dnp3(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, &[0x05, 0x64]) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    match client.first_chunk::<10>() {
        None => Match::More,
        Some(head) => {
            let sum = u16::from_le_bytes([head[8], head[9]]);
            Match::of(head[2] >= 5 && checksum(&head[..8]) == sum, "dnp3")
        }
    }
}

/// DNP3's CRC-16: the polynomial 0x3d65, reflected, complemented.
fn checksum(bytes: &[u8]) -> u16 {
    let step = |sum: u16, _| {
        if sum & 1 == 1 {
            sum >> 1 ^ 0xa6bc
        } else {
            sum >> 1
        }
    };
    !bytes
        .iter()
        .fold(0, |sum, b| (0..8).fold(sum ^ u16::from(*b), step))
}

/// IEC 60870-5-104 §5: a controlling station first starts the data transfer, or tests the
/// connection; both messages are exactly six bytes.
fn iec104(client: &[u8], _server: &[u8]) -> Match {
    let found = [0x07, 0x43].map(|control| starts(client, &[0x68, 4, control, 0, 0, 0]));
    if found.contains(&Shape::Yes) {
        Match::Yes("iec-104")
    } else if found.contains(&Shape::More) {
        Match::More
    } else {
        Match::No
    }
}
