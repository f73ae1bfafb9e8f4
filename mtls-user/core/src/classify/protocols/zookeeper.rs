//! ZooKeeper: ConnectRequest, or a four-letter command.

use super::{First, Match, Recogniser, Shape, starts};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::of(&[0]), connect),
    Recogniser::new(First::range(b'a', b'z'), four_letters),
];

const NAME: &str = "zookeeper";

/// Length, protocol version 0, zxid, timeout, session, a password of 16 bytes.
fn connect(client: &[u8], _server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (Some(len), Some(version), Some(_), Some(timeout), Some(_), Some(password)) =
        (c.u32(), c.u32(), c.take(8), c.u32(), c.take(8), c.u32())
    else {
        let may = starts(client, &[0, 0, 0]) != Shape::No
            && client.get(3).is_none_or(|b| matches!(b, 44 | 45))
            && client.iter().skip(4).take(4).all(|b| *b == 0);
        return if may { Match::More } else { Match::No };
    };
    let sane = matches!(len, 44 | 45) && version == 0 && password == 16;
    Match::of(sane && (1..=3_600_000).contains(&timeout), NAME)
}

/// Administrator's Guide, "The Four Letter Words": recognised by the response, because the words
/// themselves may begin another protocol's messages.
fn four_letters(client: &[u8], server: &[u8]) -> Match {
    const WORDS: [&[u8]; 10] = [
        b"ruok", b"stat", b"mntr", b"srvr", b"conf", b"cons", b"envi", b"wchs", b"dump", b"isro",
    ];
    const ANSWERS: [&[u8]; 5] = [
        b"imok",
        b"Zookeeper version",
        b"zk_version",
        b"Environment:",
        b"clientPort=",
    ];
    /// After the word, in place of any response.
    const REFUSAL: &[u8] = b" is not executed because";
    let typed = client.trim_ascii_end();
    if typed.is_empty() || client.len() > 6 {
        return if client.is_empty() {
            Match::More
        } else {
            Match::No
        };
    }
    let mut best = Match::No;
    for word in WORDS.iter().filter(|word| word.starts_with(typed)) {
        let refusal = match starts(server, word) {
            Shape::Yes => starts(&server[word.len()..], REFUSAL),
            other => other,
        };
        let answers = ANSWERS.iter().map(|answer| starts(server, answer));
        for found in answers.chain([refusal]) {
            match found {
                Shape::No => {}
                Shape::Yes if typed.len() == 4 => return Match::Yes(NAME),
                _ => best = Match::More,
            }
        }
    }
    best
}
