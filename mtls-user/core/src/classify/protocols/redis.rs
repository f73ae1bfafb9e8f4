//! Redis (Redis serialization protocol specification).

use super::lines::MECHANISMS;
use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] =
    &[Recogniser::new(First::WORD.or(First::of(b"*")), redis)];

/// The longest inline command.
const MAX_INLINE: usize = 1024;

/// Inline commands, as typed by a person or a script.
const COMMANDS: [&str; 60] = [
    "ACL",
    "APPEND",
    "AUTH",
    "BGSAVE",
    "BLPOP",
    "BRPOP",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DBSIZE",
    "DEBUG",
    "DECR",
    "DEL",
    "DUMP",
    "ECHO",
    "EVAL",
    "EXEC",
    "EXISTS",
    "EXPIRE",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION",
    "GET",
    "GETSET",
    "HELLO",
    "HGET",
    "HGETALL",
    "HSET",
    "INCR",
    "INFO",
    "KEYS",
    "LATENCY",
    "LLEN",
    "LPOP",
    "LPUSH",
    "LRANGE",
    "MEMORY",
    "MGET",
    "MODULE",
    "MONITOR",
    "MSET",
    "MULTI",
    "PING",
    "PSYNC",
    "PUBLISH",
    "QUIT",
    "REPLCONF",
    "ROLE",
    "RPUSH",
    "SADD",
    "SAVE",
    "SCAN",
    "SELECT",
    "SET",
    "SLOWLOG",
    "SUBSCRIBE",
    "TTL",
    "TYPE",
    "ZADD",
];

fn redis(client: &[u8], server: &[u8]) -> Match {
    match array(client) {
        Shape::No => inline(client, server),
        found => found.then(Match::Yes("redis")),
    }
}

/// A request: an array of bulk strings.
pub(super) fn array(bytes: &[u8]) -> Shape {
    let Some((b'*', rest)) = bytes.split_first() else {
        return starts(bytes, b"*");
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 7 || digits == 0 && !rest.is_empty() {
        return Shape::No;
    }
    match starts(&rest[digits..], b"\r\n$") {
        Shape::Yes => match rest.get(digits + 3) {
            Some(b) if b.is_ascii_digit() => Shape::Yes,
            Some(_) => Shape::No,
            None => Shape::More,
        },
        other => other,
    }
}

/// An inline command ("Inline commands"): recognised by the response, because such words occur in
/// other protocols too.
fn inline(client: &[u8], server: &[u8]) -> Match {
    let word = client
        .iter()
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let may = COMMANDS.iter().any(|command| {
        let command = command.as_bytes();
        command.len() >= word
            && command[..word].eq_ignore_ascii_case(&client[..word])
            && (command.len() == word || client.len() == word)
    });
    if client.is_empty() || !may || client.get(word).is_some_and(|b| !b" \r\n".contains(b)) {
        return Match::No;
    }
    let argument = client[word..].trim_ascii();
    if client[..word].eq_ignore_ascii_case(b"AUTH")
        && client.contains(&b'\n')
        && is_mechanism(argument)
    {
        // POP3's command.
        return Match::No;
    }
    let answer = answer(server);
    if client.contains(&b'\n') || answer == Shape::No {
        answer.then(Match::Yes("redis"))
    } else if client.len() > MAX_INLINE {
        Match::No
    } else {
        Match::More
    }
}

/// Whether this is empty, or names a SASL mechanism.
fn is_mechanism(argument: &[u8]) -> bool {
    let name = argument.split(|b| *b == b' ').next().unwrap_or_default();
    name.is_empty()
        || MECHANISMS
            .iter()
            .any(|m| name.eq_ignore_ascii_case(m.as_bytes()))
}

/// The responses that no other protocol gives to such a word: POP3's `+OK` is not followed by `\r`
/// where a greeting was expected.
fn answer(server: &[u8]) -> Shape {
    match server {
        [] => Shape::More,
        [b'+', ..] => match [
            &b"+OK\r\n"[..],
            b"+PONG\r\n",
            b"+QUEUED\r\n",
            b"+FULLRESYNC ",
        ]
        .map(|answer| starts(server, answer))
        {
            found if found.contains(&Shape::Yes) => Shape::Yes,
            found if found.contains(&Shape::More) => Shape::More,
            _ => Shape::No,
        },
        [b'-', rest @ ..] => {
            let code = rest.iter().take_while(|b| b.is_ascii_uppercase()).count();
            match rest.get(code) {
                None if code < 16 => Shape::More,
                Some(b' ') if code >= 3 => Shape::Yes,
                _ => Shape::No,
            }
        }
        [b'$' | b':' | b'*' | b'%', rest @ ..] => {
            let sign = usize::from(rest.first() == Some(&b'-'));
            let digits = rest[sign..].iter().take_while(|b| b.is_ascii_digit());
            let end = sign + digits.count();
            match rest.get(end) {
                None if end < 12 => Shape::More,
                Some(b'\r') if end > sign => Shape::Yes,
                _ => Shape::No,
            }
        }
        _ => Shape::No,
    }
}
