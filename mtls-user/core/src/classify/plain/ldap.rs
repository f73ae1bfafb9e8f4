//! LDAP (RFC 4511): messages are BER sequences of an id and an operation (§4.2), and StartTLS is an
//! extended request (§4.14). What a client may ask before is what a server tells anybody: its
//! capabilities and its schema. A bind with a name or a password is not among that.

use super::Match;
use super::upgrade::follows;
use crate::wire::cursor::Cursor;

const NAME: &str = "ldap";
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// The longest request that is waited for.
const MAX_REQUEST: usize = 4096;

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;

/// What a message asks for.
enum Request<'a> {
    /// An operation, with what there is of its content, and where the message ends.
    Of(u8, &'a [u8], usize),
    /// Too few bytes to tell.
    More,
    /// No message of LDAP's.
    No,
}

/// Recognizes a client by its first requests.
pub(super) fn ldap(client: &[u8], _server: &[u8]) -> Match {
    let mut at = 0;
    loop {
        let rest = &client[at..];
        let pending = if at == 0 {
            Match::More
        } else {
            Match::Likely(NAME)
        };
        let (operation, content, size) = match request(rest) {
            Request::Of(operation, content, size) => (operation, content, size),
            Request::More => return pending,
            Request::No if at == 0 => return Match::No,
            Request::No => return Match::Yes(NAME),
        };
        let open = matches!(operation, BIND | SEARCH | EXTENDED);
        if !open || size > MAX_REQUEST {
            return Match::Yes(NAME);
        }
        if rest.len() < size {
            return Match::Likely(NAME);
        }
        if operation == EXTENDED && content.windows(START_TLS.len()).any(|w| w == START_TLS) {
            return if rest.len() == size {
                Match::Asked(NAME)
            } else {
                follows(client, at + size, NAME, None)
            };
        }
        let public = match operation {
            BIND => is_anonymous(content),
            SEARCH => is_of_the_server(content),
            _ => false,
        };
        if !public {
            return Match::Yes(NAME);
        }
        at += size;
    }
}

/// The message at the start of `bytes`.
fn request(bytes: &[u8]) -> Request<'_> {
    let mut c = Cursor::new(bytes);
    match c.u8() {
        None => return Request::More,
        Some(0x30) => {}
        Some(_) => return Request::No,
    }
    let len = match length(&mut c) {
        Ok(Some(len)) => len,
        Ok(None) => return Request::More,
        Err(()) => return Request::No,
    };
    let size = bytes.len() - c.len() + len;
    let (Some(tag), Some(id_len)) = (c.u8(), c.u8()) else {
        return match c.rest().first() {
            None | Some(2) => Request::More,
            Some(_) => Request::No,
        };
    };
    if tag != 2 || !(1..=4).contains(&id_len) {
        return Request::No;
    }
    let (Some(_), Some(operation)) = (c.take(id_len.into()), c.u8()) else {
        return Request::More;
    };
    match operation {
        // Bind, unbind, search, modify, add, delete, compare, abandon; extended.
        BIND | 0x42 | SEARCH | 0x66 | 0x68 | 0x4a | 0x6e | 0x50 | EXTENDED => {
            let end = size.min(bytes.len());
            let start = (bytes.len() - c.len()).min(end);
            Request::Of(operation, &bytes[start..end], size)
        }
        _ => Request::No,
    }
}

/// A length of BER's (X.690 §8.1.3), in its definite form: `None` when more bytes are needed.
fn length(c: &mut Cursor<'_>) -> Result<Option<usize>, ()> {
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

/// A bind without name and password (§4.2): behind its own length, a version, a name, and simple
/// authentication.
fn is_anonymous(content: &[u8]) -> bool {
    let mut c = Cursor::new(content);
    length(&mut c).is_ok_and(|len| len.is_some())
        && value(&mut c, 2).is_some()
        && value(&mut c, 4) == Some(&[])
        && value(&mut c, 0x80) == Some(&[])
}

/// A search for what the server says of itself: one entry, the root's or the schema's.
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
