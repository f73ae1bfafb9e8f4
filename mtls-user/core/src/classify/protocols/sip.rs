//! HTTP-like requests: SIP (RFC 3261 §7.1), RTSP (RFC 7826 §7.1).

use super::{First, Match, Recogniser};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(
    First::range(b'A', b'Z').or(First::of(b"\r\n")),
    request,
)];

/// The longest first line.
const MAX_LINE: usize = 1024;
/// How many bytes of empty lines may come first: they serve as keep-alives (RFC 5626 §3.5.1).
const MAX_EMPTY: usize = 64;

fn request(client: &[u8], _server: &[u8]) -> Match {
    let empty = client.iter().take_while(|b| b"\r\n".contains(b)).count();
    let line = &client[empty..];
    if empty > MAX_EMPTY {
        return Match::No;
    }
    let Some(end) = line.iter().take(MAX_LINE).position(|b| *b == b'\n') else {
        let word = line
            .iter()
            .take_while(|b| b.is_ascii_uppercase() || **b == b'_')
            .count();
        let may = line.len() < MAX_LINE && (word == line.len() || word > 2 && line[word] == b' ');
        return if may { Match::More } else { Match::No };
    };
    let line = line[..end].trim_ascii_end();
    if line.ends_with(b" RTSP/1.0") || line.ends_with(b" RTSP/2.0") {
        Match::Yes("rtsp")
    } else {
        Match::of(line.ends_with(b" SIP/2.0"), "sip")
    }
}
