//! Telnet (RFC 854): either side begins with commands, which offer or request options. One of these
//! options is TLS.

use super::{First, Match, Recogniser, Turn};
use crate::wire::text;
use crate::wire::tls::record::may_be_handshake;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::ANY, telnet)];

const NAME: &str = "telnet";
const INTERPRET: u8 = 255;
const WILL: u8 = 251;
const DONT: u8 = 254;
const SUBNEGOTIATION: u8 = 250;
const END: u8 = 240;
/// How many commands make it certain, whatever follows.
const SURE: usize = 4;
/// How many bytes of typed text are inspected.
const SHOWN: usize = 16;
/// The option START_TLS (draft-altman-telnet-starttls §2), and what follows it in a subnegotiation.
const START_TLS: u8 = 46;
/// The option ENCRYPT (RFC 2946), and its command that starts encryption.
const ENCRYPT: u8 = 38;
const START: u8 = 3;

fn telnet(client: &[u8], server: &[u8]) -> Match {
    let (at, mine) = commands(client);
    let (_, theirs) = commands(server);
    let sides = [client, server];
    // Each side that has sent something began with a command.
    let may_begin = |side: &[u8]| side.len() < 3;
    let speaks_first = sides.iter().any(|side| side.first() == Some(&INTERPRET));
    if !speaks_first && !sides.iter().all(|side| side.is_empty()) {
        return Match::No;
    }
    if mine.count + theirs.count == 0 {
        let may = may_begin(client) && may_begin(server);
        return if may { Match::More } else { Match::No };
    }
    let rest = &client[at..];
    // An incomplete command.
    let begins = rest.first() == Some(&INTERPRET);
    if mine.tls || theirs.tls {
        return match (may_be_handshake(rest, 1), rest.len()) {
            _ if begins => Match::Asked(NAME),
            (true, 6..) => Match::Upgrade(Turn {
                protocol: NAME,
                client: at,
                server: None,
            }),
            (true, _) => Match::Asked(NAME),
            (false, _) => Match::Refused(NAME),
        };
    }
    if mine.encrypts || theirs.encrypts {
        return Match::Encrypted(NAME);
    }
    // Three bytes may be anything: typed text must follow, or more commands.
    let typed = &rest[..rest.len().min(SHOWN)];
    if rest.is_empty() || begins {
        Match::Likely(NAME)
    } else if mine.count + theirs.count < SURE && !text::is_text(typed) {
        Match::No
    } else {
        Match::Yes(NAME)
    }
}

/// The commands at the start of a side.
#[derive(Default)]
struct Commands {
    count: usize,
    /// TLS follows.
    tls: bool,
    /// Telnet's own encryption begins.
    encrypts: bool,
}

/// Parses them; returns their end.
fn commands(bytes: &[u8]) -> (usize, Commands) {
    let mut seen = Commands::default();
    let mut at = 0;
    loop {
        match bytes[at..] {
            [INTERPRET, WILL..=DONT, _option, ..] => at += 3,
            [INTERPRET, SUBNEGOTIATION, option, command, ..] => {
                let end = bytes[at..].windows(2).position(|w| w == [INTERPRET, END]);
                let Some(end) = end else { break };
                seen.tls |= option == START_TLS && command == 1;
                seen.encrypts |= option == ENCRYPT && command == START;
                at += end + 2;
            }
            _ => break,
        }
        seen.count += 1;
    }
    (at, seen)
}
