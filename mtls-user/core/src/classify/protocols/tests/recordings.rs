//! Runs every recogniser on every recording of any protocol: none may claim another protocol's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/protocols")
}

/// The contiguous payload of both directions of the one connection in a capture.
fn streams(path: &Path) -> [Vec<u8>; 2] {
    let bytes = std::fs::read(path).unwrap();
    let mut ends: [BTreeMap<u32, Vec<u8>>; 2] = Default::default();
    let mut client = None;
    let mut at = 24;
    while at + 16 <= bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let frame = &bytes[at + 16..at + 16 + len];
        at += 16 + len;
        let (ip, tcp) = match frame[12..14] {
            [8, 0] => (&frame[14..], usize::from(frame[14] & 15) * 4),
            _ => continue,
        };
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let segment = &ip[tcp..total];
        let port = u16::from_be_bytes([segment[0], segment[1]]);
        let number = u32::from_be_bytes(segment[4..8].try_into().unwrap());
        let payload = &segment[usize::from(segment[12] >> 4) * 4..];
        // The first to send is the side that opens the connection.
        let side = usize::from(*client.get_or_insert(port) != port);
        if !payload.is_empty() {
            ends[side].entry(number).or_insert_with(|| payload.to_vec());
        }
    }
    ends.map(|segments| {
        let mut out: Vec<u8> = Vec::new();
        let start = segments.keys().next().copied().unwrap_or_default();
        for (number, payload) in segments {
            let offset = number.wrapping_sub(start) as usize;
            if offset > out.len() {
                break;
            }
            let new = payload.get(out.len() - offset..).unwrap_or_default();
            out.extend_from_slice(new);
        }
        out
    })
}

#[test]
fn no_recogniser_claims_what_is_anothers() {
    let table = std::fs::read_to_string(folder().join("../protocols.csv")).unwrap();
    let mut seen = 0;
    let mut wrong = std::collections::BTreeSet::new();
    for row in table.lines().skip(1) {
        let row: Vec<&str> = row.split(',').collect();
        let (file, protocol) = (row[0], row[3]);
        let [client, server] = streams(&folder().join(file));
        seen += usize::from(!client.is_empty() || !server.is_empty());
        for (family, recognisers) in REGISTRY {
            for recogniser in *recognisers {
                if client
                    .first()
                    .is_some_and(|byte| !recogniser.first.has(*byte))
                {
                    continue;
                }
                for n in (0..client.len().min(2048))
                    .step_by(37)
                    .chain([client.len()])
                {
                    for server in [&server[..], &[], &server[..server.len() / 2]] {
                        let found = (recogniser.recognise)(&client[..n], server);
                        let claimed = match found {
                            Match::Yes(name)
                            | Match::Encrypted(name)
                            | Match::Refused(name)
                            | Match::Secret(Turn { protocol: name, .. })
                            | Match::Upgrade(Turn { protocol: name, .. })
                            | Match::Wrapped(Turn { protocol: name, .. }, _) => name,
                            Match::Through(_) => "",
                            _ => continue,
                        };
                        // A protocol that carries another is first recognised by its own name.
                        let carrier = match claimed {
                            "http/1.1" | "http/1.0" | "http/2" => {
                                matches!(protocol, "grpc" | "websocket" | "h2c")
                                    || protocol == claimed
                            }
                            "" => ["proxy", "socks", "http-connect"]
                                .iter()
                                .any(|p| file.starts_with(p)),
                            name => protocol == name,
                        };
                        if !carrier {
                            wrong.insert(format!("{family} claims {file}: {found:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 150, "only {seen} recordings have payload");
}
