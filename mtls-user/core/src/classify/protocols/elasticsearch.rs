//! The transport protocol between Elasticsearch or OpenSearch nodes (`TcpHeader`): a magic number,
//! length, request, status, version.

use super::{First, Match, Recogniser, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"E"), transport)];

fn transport(client: &[u8], _server: &[u8]) -> Match {
    let (any, zero) = (None, Some(0));
    // Lengths are below 16 MiB, request numbers start low, versions have at most eight digits.
    let head = [
        Some(b'E'),
        Some(b'S'),
        zero,
        any,
        any,
        any,
        zero,
        zero,
        zero,
        any,
        any,
        any,
        any,
        any,
        any,
        zero,
    ];
    let status = client.get(14).is_none_or(|status| status & 0xf0 == 0);
    if status {
        shape(client, &head).then(Match::Yes("elasticsearch"))
    } else {
        Match::No
    }
}
