//! HTTP/1 (RFC 9112): recognised by its first line, described by the first exchange.

use super::{First, Match, Recogniser, Shape, follows, starts};
use crate::record::HttpInfo;
use crate::wire::text;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::WORD.or(First::of(b"!#$%&'*+-.^_`|~\r\n")), http1),
    Recogniser::new(First::of(b"G"), gnutella),
];

/// The longest first line.
const MAX_LINE: usize = 8 << 10;
/// The longest method; the registered ones have up to 17 letters.
const MAX_METHOD: usize = 32;
/// How many bytes of empty lines may come before a request (RFC 9112 §2.2).
const MAX_EMPTY: usize = 16;
/// How many header fields are read at once.
const FIELDS: usize = 64;
/// How much of a request's header is searched for a request to upgrade to TLS.
const MAX_WISH: usize = 2 << 10;

/// Recognises a client that speaks HTTP/1; CONNECT is recognised elsewhere. A request may ask for
/// an upgrade to TLS (RFC 2817 §3).
fn http1(client: &[u8], server: &[u8]) -> Match {
    let request = &client[empty_lines(client)..];
    let name = match request_line(request) {
        Match::Yes(name) => name,
        other => return other,
    };
    if request.starts_with(b"CONNECT ") {
        return Match::No;
    }
    let Some(end) = head(client) else {
        return if client.len() < MAX_WISH {
            Match::Likely(name)
        } else {
            Match::Yes(name)
        };
    };
    if end > MAX_WISH || !wishes_tls(&client[..end]) {
        return Match::Yes(name);
    }
    match final_response(server) {
        Response::Of(101, answer, _) => follows(client, end, name, Some(answer)),
        Response::Of(..) | Response::No => Match::Refused(name),
        Response::More => follows(client, end, name, None),
    }
}

/// Whether a request asks for an upgrade to TLS without revealing anything first: no content, no
/// credentials.
pub(super) fn wishes_tls(head: &[u8]) -> bool {
    let fields = head.split(|b| *b == b'\n').skip(1);
    let mut wishes = false;
    for field in fields {
        let Some(at) = field.iter().position(|b| *b == b':') else {
            continue;
        };
        let (name, value) = field.split_at(at);
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"upgrade") {
            wishes |= value.windows(4).any(|w| w.eq_ignore_ascii_case(b"TLS/"));
        } else if is(b"authorization")
            || is(b"cookie")
            || is(b"transfer-encoding")
            || is(b"content-length") && value[1..].trim_ascii() != b"0"
        {
            return false;
        }
    }
    wishes
}

/// Gnutella (protocol 0.6, "Handshake") resembles HTTP, and upgrades to TLS in the same way.
fn gnutella(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "gnutella";
    match starts(client, b"GNUTELLA CONNECT/0.") {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let Some(end) = head(client) else {
        return Match::Likely(NAME);
    };
    if !wishes_tls(&client[..end]) {
        return Match::Yes(NAME);
    }
    match (head(server), head(&client[end..])) {
        // The client confirms what the server agreed to.
        (Some(answer), Some(more)) if wishes_tls(&server[..answer]) => {
            follows(client, end + more, NAME, Some(answer))
        }
        (Some(answer), _) if !wishes_tls(&server[..answer]) => Match::Refused(NAME),
        _ if client.len() > MAX_LINE => Match::Refused(NAME),
        _ => Match::Asked(NAME),
    }
}

/// Recognises a request line, after empty lines: method, target, version.
pub(in crate::classify) fn request(bytes: &[u8]) -> Match {
    request_line(&bytes[empty_lines(bytes)..])
}

/// Number of bytes of empty lines at the start.
fn empty_lines(bytes: &[u8]) -> usize {
    let empty = bytes.iter().take(MAX_EMPTY);
    empty.take_while(|b| b"\r\n".contains(b)).count()
}

fn request_line(bytes: &[u8]) -> Match {
    let method = bytes
        .iter()
        .take(MAX_METHOD + 1)
        .take_while(|b| is_token(**b));
    let method = method.count();
    if method > MAX_METHOD || method == 0 && !bytes.is_empty() {
        return Match::No;
    }
    let Some((b' ', rest)) = bytes[method..].split_first() else {
        return if method == bytes.len() {
            Match::More
        } else {
            Match::No
        };
    };
    let target = rest
        .iter()
        .take_while(|b| b.is_ascii_graphic() || **b >= 0x80)
        .count();
    if target > MAX_LINE || target == 0 && !rest.is_empty() {
        return Match::No;
    }
    let Some((b' ', rest)) = rest[target..].split_first() else {
        return if target == rest.len() {
            Match::More
        } else {
            Match::No
        };
    };
    version(rest)
}

/// Whether a method may contain this byte (RFC 9110 §5.6.2, "token").
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Recognises a status line.
pub(in crate::classify) fn response(bytes: &[u8]) -> Match {
    let found = version_number(bytes);
    match (found, bytes.get(8)) {
        (Match::Yes(_), Some(b' ')) => found,
        (Match::Yes(_), Some(_)) => Match::No,
        (Match::Yes(_), None) => Match::More,
        _ => found,
    }
}

/// Length of the header at the start, including its empty line.
pub(super) fn head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// A final response, not an interim one (RFC 9110 §15.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Response {
    /// Its status, and the ends of its header and content, as far as these are known.
    Of(u16, usize, Option<usize>),
    /// It is incomplete.
    More,
    /// Not an HTTP/1 response.
    No,
}

/// The first response that is not interim; a switch of protocols is final.
pub(super) fn final_response(bytes: &[u8]) -> Response {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        match response(rest) {
            Match::Yes(_) => {}
            Match::More => return Response::More,
            _ => return Response::No,
        }
        let status = status(rest);
        let Some(end) = head(rest) else {
            return if rest.len() > MAX_LINE {
                Response::No
            } else {
                Response::More
            };
        };
        match status {
            None => return Response::No,
            Some(100..=199) if status != Some(101) => at += end,
            Some(code) => {
                let content = content_length(&rest[..end]);
                let content = content.map(|content| at + end + content);
                return Response::Of(code, at + end, content);
            }
        }
    }
}

fn status(line: &[u8]) -> Option<u16> {
    std::str::from_utf8(line.get(9..12)?).ok()?.parse().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    let mut fields = head.split(|b| *b == b'\n').skip(1);
    fields.find_map(|field| {
        let (name, value) = field.split_at(field.iter().position(|b| *b == b':')?);
        if !name.eq_ignore_ascii_case(b"content-length") {
            return None;
        }
        let value = std::str::from_utf8(value[1..].trim_ascii()).ok()?;
        value.parse().ok().filter(|len| *len <= 1 << 20)
    })
}

fn version(rest: &[u8]) -> Match {
    match (version_number(rest), rest.get(8)) {
        (Match::Yes(name), Some(b'\r' | b'\n')) => Match::Yes(name),
        (Match::Yes(_), Some(_)) => Match::No,
        (Match::Yes(_), None) => Match::More,
        (other, _) => other,
    }
}

fn version_number(bytes: &[u8]) -> Match {
    const NAME: &[u8] = b"HTTP/1.";
    match (starts(bytes, NAME), bytes.get(NAME.len())) {
        (Shape::No, _) => Match::No,
        (_, Some(b'1')) => Match::Yes("http/1.1"),
        (_, Some(b'0')) => Match::Yes("http/1.0"),
        (_, Some(_)) => Match::No,
        (_, None) => Match::More,
    }
}

/// Reads a request's header into `info`, and the protocol that it wants to upgrade to into
/// `upgrade`. False while the header is incomplete.
pub(in crate::classify) fn read_request(
    bytes: &[u8],
    info: &mut HttpInfo,
    upgrade: &mut Option<&'static str>,
) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let mut parsed = request.parse(bytes).map(|status| status.is_partial());
    if let (Some(method), Some(target)) = (request.method, request.path) {
        let (authority, path) = split_target(method, target);
        info.method = Some(text::clean(method.as_bytes()));
        info.path = path.map(|p| text::clean(p.as_bytes()));
        info.authority = authority.map(|a| text::clean(a.as_bytes()));
    }
    loop {
        read_fields(&fields, info, upgrade);
        if parsed != Err(httparse::Error::TooManyHeaders) {
            break;
        }
        // The next fields begin after the last one that there was room for.
        let last = fields[FIELDS - 1].value.as_ptr_range().end as usize;
        let rest = last
            .checked_sub(bytes.as_ptr() as usize)
            .and_then(|at| bytes.get(at..))
            .and_then(|rest| Some(&rest[memchr::memchr(b'\n', rest)? + 1..]));
        let Some(rest) = rest else { break };
        fields = [httparse::EMPTY_HEADER; FIELDS];
        parsed = httparse::parse_headers(rest, &mut fields).map(|status| status.is_partial());
    }
    parsed != Ok(true)
}

fn read_fields(
    fields: &[httparse::Header<'_>],
    info: &mut HttpInfo,
    upgrade: &mut Option<&'static str>,
) {
    for field in fields.iter().take_while(|field| !field.name.is_empty()) {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            info.authority
                .get_or_insert_with(|| text::clean(field.value));
        } else if is("user-agent") && info.user_agent.is_none() {
            let agent = text::clean(field.value);
            info.user_agent = Some(product(&agent).into());
        } else if is("upgrade") {
            *upgrade = ["websocket", "h2c"]
                .into_iter()
                .find(|name| field.value.eq_ignore_ascii_case(name.as_bytes()));
        }
    }
}

/// Authority and path of a request target (RFC 9112 §3.2), without the query.
fn split_target<'a>(method: &str, target: &'a str) -> (Option<&'a str>, Option<&'a str>) {
    let path = |p: &'a str| p.split(['?', '#']).next();
    if method == "CONNECT" {
        return (Some(target), None);
    }
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let authority = rest[..at].rsplit('@').next();
            (authority, path(&rest[at..]))
        }
        _ => (None, path(target)),
    }
}

/// The first product of a user agent, without comments.
fn product(agent: &str) -> &str {
    agent.split([' ', '(']).next().unwrap_or(agent)
}

/// Reads the status of the first response that is not interim. False while it is missing.
pub(in crate::classify) fn read_response(bytes: &[u8], info: &mut HttpInfo) -> bool {
    let mut rest = bytes;
    loop {
        match response(rest) {
            Match::More => return false,
            Match::Yes(_) => {}
            _ => return true,
        }
        if rest.len() < 12 {
            return false;
        }
        let status = status(rest);
        if info.status.is_none() || status.is_some() {
            info.status = status;
        }
        if !matches!(status, Some(100..=199)) || status == Some(101) {
            return true;
        }
        match head(rest) {
            Some(end) => rest = &rest[end..],
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_request_lines_only() {
        assert_eq!(request(b"GET / HTTP/1.1\r\n"), Match::Yes("http/1.1"));
        assert_eq!(request(b"M-SEARCH * HTTP/1.0\n"), Match::Yes("http/1.0"));
        for method in ["get", "CCM_POST", "RPC_OUT_DATA", "X!#$%&'*+-.^_`|~9"] {
            let line = format!("\r\n{method} / HTTP/1.1\r\n");
            assert_eq!(request(line.as_bytes()), Match::Yes("http/1.1"), "{method}");
        }
        for no in [
            &b"GET key\r\n"[..],
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/2.0\r\n",
            b"GET / HTTP/1.12",
            b"\x16\x03\x01",
            b" GET / HTTP/1.1",
        ] {
            assert_eq!(request(no), Match::No, "{}", no.escape_ascii());
        }
    }

    #[test]
    fn no_longer_prefix_changes_the_answer() {
        for line in [
            &b"GET /a?b HTTP/1.1\r\nHost: x"[..],
            b"GET key\r\n",
            b"PUT / HTTP/1.9\r",
        ] {
            let mut before = Match::More;
            for n in 0..=line.len() {
                let now = request(&line[..n]);
                assert!(before == Match::More || now == before);
                before = now;
            }
            assert_ne!(before, Match::More);
        }
    }

    #[test]
    fn reads_the_first_exchange() {
        let mut info = HttpInfo::default();
        let head = b"GET /a/b?token=secret HTTP/1.1\r\nhost: web.shop:8080\r\nUser-Agent: kube-probe/1.30 (x)\r\n\r\n";
        assert!(!read_request(&head[..40], &mut info, &mut None));
        assert!(read_request(head, &mut info, &mut None));
        assert_eq!(info.method.as_deref(), Some("GET"));
        assert_eq!(info.path.as_deref(), Some("/a/b"));
        assert_eq!(info.authority.as_deref(), Some("web.shop:8080"));
        assert_eq!(info.user_agent.as_deref(), Some("kube-probe/1.30"));
        assert!(!read_response(b"HTTP/1.1 20", &mut info));
        assert!(read_response(b"HTTP/1.1 204 No Content\r\n", &mut info));
        assert_eq!(info.status, Some(204));
    }

    #[test]
    fn absolute_targets_lose_their_credentials() {
        let target = "http://user:pw@host:81/p?q";
        assert_eq!(split_target("GET", target), (Some("host:81"), Some("/p")));
        assert_eq!(split_target("CONNECT", "h:443"), (Some("h:443"), None));
    }
}
