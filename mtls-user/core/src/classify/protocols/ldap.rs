//! LDAP (RFC 4511): messages are BER sequences of an id and an operation (§4.2), and StartTLS is an
//! extended request (§4.14). Before it, a client may ask for public information: the server's
//! capabilities and its schema. A bind with a name and a password is different. A SASL bind may be
//! followed by encrypted messages (RFC 4513 §5.2).

use super::{First, Match, Recogniser, Shape, follows, shape};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0x30]), ldap)];

const NAME: &str = "ldap";
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// The longest request that is waited for: a bind may contain a ticket.
const MAX_REQUEST: usize = 12 << 10;

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

/// A message.
pub(super) enum Message<'a> {
    /// Its id, its operation, the available part of the operation's content, and the end of the
    /// message.
    Of(u32, u8, &'a [u8], usize),
    /// Too few bytes to decide.
    More,
    /// Not LDAP.
    No,
}

/// Recognises a client by its first requests.
fn ldap(client: &[u8], server: &[u8]) -> Match {
    let mut at = 0;
    // A bind that may have negotiated encryption of what follows.
    let mut bound = false;
    loop {
        let rest = &client[at..];
        let pending = if at == 0 {
            Match::More
        } else {
            Match::Likely(NAME)
        };
        if bound {
            match sealed(rest) {
                Shape::Yes => return Match::Encrypted(NAME),
                Shape::More => return pending,
                Shape::No => {}
            }
        }
        let (id, operation, content, size) = match message(rest) {
            Message::Of(id, operation, content, size) => (id, operation, content, size),
            Message::More => return pending,
            Message::No if at == 0 => return Match::No,
            Message::No => return Match::Yes(NAME),
        };
        if !is_request(operation) {
            return if at == 0 { Match::No } else { Match::Yes(NAME) };
        }
        let open = matches!(operation, BIND | SEARCH | EXTENDED);
        if !open || size > MAX_REQUEST {
            return Match::Yes(NAME);
        }
        if rest.len() < size {
            return Match::Likely(NAME);
        }
        if asks_for_tls(operation, content) {
            return if rest.len() > size {
                follows(client, at + size, NAME, None)
            } else if has_declined(server, id) {
                Match::Declined(NAME)
            } else {
                Match::Asked(NAME)
            };
        }
        bound |= operation == BIND && may_seal(content);
        if !may_precede_tls(operation, content) {
            return Match::Yes(NAME);
        }
        at += size;
    }
}

/// Whether a request asks for TLS.
fn asks_for_tls(operation: u8, content: &[u8]) -> bool {
    operation == EXTENDED && content.windows(START_TLS.len()).any(|w| w == START_TLS)
}

/// Whether a request reveals nothing, so that TLS or encryption may still follow.
pub(super) fn may_precede_tls(operation: u8, content: &[u8]) -> bool {
    match operation {
        BIND => is_anonymous(content) || may_seal(content),
        SEARCH => is_of_the_server(content),
        _ => asks_for_tls(operation, content),
    }
}

/// The message at the start of `bytes`.
pub(super) fn message(bytes: &[u8]) -> Message<'_> {
    let mut c = Cursor::new(bytes);
    match c.u8() {
        None => return Message::More,
        Some(0x30) => {}
        Some(_) => return Message::No,
    }
    let len = match length(&mut c) {
        Ok(Some(len)) => len,
        Ok(None) => return Message::More,
        Err(()) => return Message::No,
    };
    let size = bytes.len() - c.len() + len;
    let (Some(tag), Some(id_len)) = (c.u8(), c.u8()) else {
        return match c.rest().first() {
            None | Some(2) => Message::More,
            Some(_) => Message::No,
        };
    };
    if tag != 2 || !(1..=4).contains(&id_len) {
        return Message::No;
    }
    let (Some(id), Some(operation)) = (c.take(id_len.into()), c.u8()) else {
        return Message::More;
    };
    let id = id.iter().fold(0, |id, b| id << 8 | u32::from(*b));
    match operation {
        // Requests and their responses.
        0x42 | 0x4a | 0x50 | 0x60..=0x6f | 0x73 | EXTENDED..=0x79 => {
            let end = size.min(bytes.len());
            let start = (bytes.len() - c.len()).min(end);
            Message::Of(id, operation, &bytes[start..end], size)
        }
        _ => Message::No,
    }
}

/// Whether a client sends this: bind, unbind, search, modify, add, delete, rename, compare,
/// abandon; extended.
pub(super) fn is_request(operation: u8) -> bool {
    matches!(
        operation,
        BIND | 0x42 | SEARCH | 0x66 | 0x68 | 0x4a | 0x6c | 0x6e | 0x50 | EXTENDED
    )
}

/// A BER length (X.690 §8.1.3) in its definite form: `None` if more bytes are needed.
pub(super) fn length(c: &mut Cursor<'_>) -> Result<Option<usize>, ()> {
    let Some(first) = c.u8() else {
        return Ok(None);
    };
    if first & 0x80 == 0 {
        return Ok(Some(first.into()));
    }
    let n = usize::from(first & 0x7f);
    if !(1..=4).contains(&n) {
        return Err(());
    }
    let len = c
        .take(n)
        .map(|bytes| bytes.iter().fold(0, |len, b| len << 8 | usize::from(*b)));
    Ok(len)
}

/// A value of this tag.
fn value<'a>(c: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    if c.u8()? != tag {
        return None;
    }
    let len = length(c).ok()??;
    c.take(len)
}

/// A bind without name and password (§4.2): after its own length, a version, a name, and simple
/// authentication.
fn is_anonymous(content: &[u8]) -> bool {
    let mut c = Cursor::new(content);
    length(&mut c).is_ok_and(|len| len.is_some())
        && value(&mut c, 2).is_some()
        && value(&mut c, 4) == Some(&[])
        && value(&mut c, 0x80) == Some(&[])
}

/// A bind by a mechanism that can protect what follows, and reveals no secret itself. Active
/// Directory's "sicily" binds (MS-ADTS §5.1.1.1.3) use NTLM.
fn may_seal(content: &[u8]) -> bool {
    const MECHANISMS: [&[u8]; 5] = [b"GSSAPI", b"GSS-SPNEGO", b"DIGEST-MD5", b"NTLM", b"SRP"];
    let mut c = Cursor::new(content);
    if !length(&mut c).is_ok_and(|len| len.is_some())
        || value(&mut c, 2).is_none()
        || value(&mut c, 4).is_none()
    {
        return false;
    }
    match c.u8() {
        // SASL: a sequence without its own tag, beginning with the mechanism's name.
        Some(0xa3) => {
            length(&mut c).is_ok_and(|len| len.is_some())
                && value(&mut c, 4).is_some_and(|name| MECHANISMS.contains(&name))
        }
        Some(0x89..=0x8b) => true,
        _ => false,
    }
}

/// A SASL buffer (RFC 4422 §3.7), with a four-byte length prefix. A Kerberos buffer says whether it
/// is encrypted or only signed (RFC 4121 §4.2.6.2); one that is only signed contains a readable
/// LDAP message.
fn sealed(rest: &[u8]) -> Shape {
    const HEADER: usize = 16;
    const SEALED: u8 = 2;
    match shape(rest, &[Some(0), None, None, None, None, None, None]) {
        Shape::Yes => {}
        other => return other,
    }
    let buffer = &rest[4..];
    if buffer[..2] == [5, 4] {
        return if buffer[2] & SEALED != 0 {
            Shape::Yes
        } else {
            Shape::No
        };
    }
    // An NTLM signature, or none: the contents are readable or not.
    let inside = [0, HEADER].map(|at| buffer.get(at..).map(message));
    let readable = |m: &Option<Message<'_>>| matches!(m, Some(Message::Of(..)));
    if inside.iter().any(readable) {
        Shape::No
    } else if buffer.len() < HEADER + 8 {
        Shape::More
    } else {
        Shape::Yes
    }
}

/// A search for the server's own description: one entry, the root's or the schema's.
fn is_of_the_server(content: &[u8]) -> bool {
    let mut c = Cursor::new(content);
    if !length(&mut c).is_ok_and(|len| len.is_some()) {
        return false;
    }
    let (Some(base), Some([0])) = (value(&mut c, 4), value(&mut c, 10)) else {
        return false;
    };
    base.is_empty() || base.windows(6).any(|w| w.eq_ignore_ascii_case(b"schema"))
}

/// Whether the server answered the extended request with this id with anything but success.
fn has_declined(server: &[u8], request: u32) -> bool {
    let mut rest = server;
    while let Message::Of(id, operation, content, size) = message(rest) {
        if id == request && operation == EXTENDED_RESPONSE {
            let mut c = Cursor::new(content);
            let result = length(&mut c)
                .ok()
                .flatten()
                .and_then(|_| value(&mut c, 10));
            return result.is_some_and(|code| code != [0]);
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    false
}
