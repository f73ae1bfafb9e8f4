//! XMPP opens an XML stream (RFC 6120 §4.2), requests TLS in it (§5.4), and may encrypt it with a
//! SASL mechanism (§6).

use super::{First, Match, Recogniser, Shape, follows, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"<"), xmpp)];

const NAME: &str = "xmpp";
/// The longest start of a stream.
const MAX_HEAD: usize = 2048;

fn xmpp(client: &[u8], server: &[u8]) -> Match {
    let opened = [&b"<?xml "[..], b"<stream:stream "].map(|p| starts(client, p));
    if opened == [Shape::No; 2] {
        return Match::No;
    }
    let find = |what: &[u8]| client.windows(what.len()).position(|w| w == what);
    if find(b"http://etherx.jabber.org/streams").is_none() {
        return if client.len() > MAX_HEAD {
            Match::No
        } else {
            Match::More
        };
    }
    if let Some((prefix, at)) = starttls(client) {
        let Some(end) = element_end(client, prefix, at) else {
            return Match::Asked(NAME);
        };
        if client.len() > end {
            return follows(client, end, NAME, None);
        }
        let failed = server
            .windows(8)
            .any(|w| w == b"<failure" || w == b":failure");
        return if failed {
            Match::Declined(NAME)
        } else {
            Match::Asked(NAME)
        };
    }
    if let Some(at) = find(b"<auth") {
        return authenticated(&client[at..]);
    }
    if find(b"<iq").or_else(|| find(b"<message")).is_some() {
        return Match::Yes(NAME);
    }
    Match::Likely(NAME)
}

/// What follows `<auth`: a mechanism may encrypt what follows the exchange, in buffers with a
/// four-byte length prefix (RFC 4422 §3.7).
fn authenticated(rest: &[u8]) -> Match {
    let Some(end) = rest.iter().position(|b| *b == b'>') else {
        return Match::Likely(NAME);
    };
    let head = &rest[..end];
    let seals = [&b"GSSAPI"[..], b"DIGEST-MD5", b"GSS-SPNEGO"]
        .iter()
        .any(|name| head.windows(name.len()).any(|w| w == *name));
    if !seals {
        return Match::Yes(NAME);
    }
    if rest.contains(&0) {
        return Match::Encrypted(NAME);
    }
    let opens_again = rest.windows(14).any(|w| w == b"<stream:stream");
    if opens_again {
        Match::Yes(NAME)
    } else {
        Match::Likely(NAME)
    }
}

/// The element that requests TLS: its namespace prefix, and the end of its name.
fn starttls(client: &[u8]) -> Option<(&[u8], usize)> {
    const ELEMENT: &[u8] = b"starttls";
    let prefix = |at: usize| {
        let before = &client[..at];
        if before.ends_with(b"<") {
            return Some(&[][..]);
        }
        let before = before.strip_suffix(b":")?;
        let name = before
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_alphanumeric());
        let start = before.len() - name.count();
        (start < before.len() && before[..start].ends_with(b"<")).then(|| &client[start..at])
    };
    let mut found = client.windows(ELEMENT.len()).enumerate();
    found.find_map(|(at, w)| {
        let prefix = (w == ELEMENT).then(|| prefix(at))??;
        Some((prefix, at + ELEMENT.len()))
    })
}

/// The end of the element whose name ends at `at`: immediately, or after its children.
fn element_end(client: &[u8], prefix: &[u8], at: usize) -> Option<usize> {
    let tag = at + client[at..].iter().position(|b| *b == b'>')?;
    if client[..tag].ends_with(b"/") {
        return Some(tag + 1);
    }
    let closing = [b"</", prefix, b"starttls"].concat();
    let inside = &client[tag + 1..];
    let close = inside.windows(closing.len()).position(|w| w == closing)?;
    let behind = tag + 1 + close + closing.len();
    let end = client[behind..].iter().position(|b| *b == b'>')?;
    Some(behind + end + 1)
}
