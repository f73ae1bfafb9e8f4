//! HTTP/1 (RFC 9112): recognized by its first line, described by the first exchange.

use super::Match;
use crate::record::HttpInfo;
use crate::wire::text;

/// The longest first line.
const MAX_LINE: usize = 8 << 10;
/// The most header fields that are read.
const MAX_FIELDS: usize = 64;

/// Recognizes a client that speaks HTTP/1; CONNECT is recognized elsewhere.
pub(super) fn recognize(client: &[u8], _server: &[u8]) -> Match {
    const CONNECT: &[u8] = b"CONNECT ";
    if super::starts(client, CONNECT) == Match::Yes("") {
        Match::No
    } else {
        request(client)
    }
}

/// Recognizes a request line: method, target, version.
pub(in crate::classify) fn request(bytes: &[u8]) -> Match {
    let method = bytes
        .iter()
        .take_while(|b| b.is_ascii_uppercase() || **b == b'-')
        .count();
    if method > 20 || method == 0 && !bytes.is_empty() {
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

/// Recognizes a status line.
pub(in crate::classify) fn response(bytes: &[u8]) -> Match {
    let found = version_number(bytes);
    match (found, bytes.get(8)) {
        (Match::Yes(_), Some(b' ')) => found,
        (Match::Yes(_), Some(_)) => Match::No,
        (Match::Yes(_), None) => Match::More,
        _ => found,
    }
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
    let n = bytes.len().min(NAME.len());
    if bytes[..n] != NAME[..n] {
        return Match::No;
    }
    match bytes.get(NAME.len()) {
        Some(b'1') => Match::Yes("http/1.1"),
        Some(b'0') => Match::Yes("http/1.0"),
        Some(_) => Match::No,
        None => Match::More,
    }
}

/// Reads a request's head into `info`, and into `upgrade` the protocol that it wants to change to.
/// False while the head is not complete.
pub(in crate::classify) fn read_request(
    bytes: &[u8],
    info: &mut HttpInfo,
    upgrade: &mut Option<&'static str>,
) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes);
    if let (Some(method), Some(target)) = (request.method, request.path) {
        let (authority, path) = split_target(method, target);
        info.method = Some(text::clean(method.as_bytes()));
        info.path = path.map(|p| text::clean(p.as_bytes()));
        let field = |name: &str| {
            let field = request
                .headers
                .iter()
                .find(|f| f.name.eq_ignore_ascii_case(name))?;
            Some(text::clean(field.value))
        };
        info.authority = authority
            .map(|a| text::clean(a.as_bytes()))
            .or_else(|| field("host"));
        *upgrade = field("upgrade").and_then(|wanted| {
            ["websocket", "h2c"]
                .into_iter()
                .find(|name| wanted.eq_ignore_ascii_case(name))
        });
        info.user_agent = field("user-agent").map(|agent| product(&agent).into());
    }
    !matches!(parsed, Ok(httparse::Status::Partial))
}

/// Authority and path of a request target (RFC 9112 §3.2); the query is left out.
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

/// The status of a response's status line, when that is there. False while it is not complete.
pub(in crate::classify) fn read_response(bytes: &[u8], info: &mut HttpInfo) -> bool {
    match response(bytes) {
        Match::More => false,
        Match::Yes(_) => match bytes.get(9..12) {
            Some(digits) => {
                info.status = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|d| d.parse().ok());
                true
            }
            None => false,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_request_lines_only() {
        assert_eq!(request(b"GET / HTTP/1.1\r\n"), Match::Yes("http/1.1"));
        assert_eq!(request(b"M-SEARCH * HTTP/1.0\n"), Match::Yes("http/1.0"));
        for no in [
            &b"get / HTTP/1.1\r\n"[..],
            b"GET key\r\n",
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
