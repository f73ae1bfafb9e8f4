//! ONC RPC over TCP (RFC 5531): NFS and related protocols. A call with credentials of the flavor
//! AUTH_TLS requests TLS (RFC 9289 §4.1); RPCSEC_GSS may encrypt the calls (RFC 2203 §5).

use super::{First, Match, Recogniser, Shape, follows, shape};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0x80, 0]), rpc)];

const AUTH_GSS: u32 = 6;
const AUTH_TLS: u32 = 7;
/// The longest record that is waited for.
const MAX_RECORD: u32 = 1 << 21;

/// A call's header.
struct Call<'a> {
    name: &'static str,
    flavor: u32,
    credentials: &'a [u8],
    /// Bytes of its record, including the mark.
    size: usize,
}

fn rpc(client: &[u8], server: &[u8]) -> Match {
    let mut at = 0;
    let mut known = None;
    loop {
        let call = match call(&client[at..]) {
            Ok(call) => call,
            Err(other) => {
                return match (known, other) {
                    (Some(name), Shape::More) => Match::Likely(name),
                    (Some(name), _) => Match::Yes(name),
                    (None, other) => other.then(Match::No),
                };
            }
        };
        let end = at + call.size;
        match call.flavor {
            AUTH_TLS => {
                if client.len() < end {
                    return Match::Asked(call.name);
                }
                return match starttls(server) {
                    Ok(answer) => follows(client, end, call.name, Some(answer)),
                    Err(Shape::More) => follows(client, end, call.name, None),
                    Err(_) if client.len() == end => Match::Declined(call.name),
                    Err(_) => Match::Refused(call.name),
                };
            }
            AUTH_GSS => {
                const DATA: u32 = 0;
                const PRIVACY: u32 = 3;
                let mut c = Cursor::new(call.credentials);
                let (_version, procedure, _number, service) = (c.u32(), c.u32(), c.u32(), c.u32());
                match (procedure, service) {
                    (Some(DATA), Some(PRIVACY)) => return Match::Encrypted(call.name),
                    (Some(DATA), _) => return Match::Yes(call.name),
                    // A context is created.
                    _ => known = Some(call.name),
                }
            }
            _ => return Match::Yes(call.name),
        }
        if client.len() < end {
            return Match::Likely(call.name);
        }
        at = end;
    }
}

/// The call at the start: a record mark (§11), an id, CALL, version 2, program, version, procedure,
/// credentials.
fn call(bytes: &[u8]) -> Result<Call<'_>, Shape> {
    const CALL: [Option<u8>; 16] = {
        let (any, zero) = (None, Some(0));
        [
            any,
            any,
            any,
            any,
            any,
            any,
            any,
            any,
            zero,
            zero,
            zero,
            zero,
            zero,
            zero,
            zero,
            Some(2),
        ]
    };
    match shape(bytes, &CALL) {
        Shape::Yes => {}
        other => return Err(other),
    }
    let mut c = Cursor::new(bytes);
    let mark = c.u32().ok_or(Shape::More)?;
    let size = mark & 0x7fff_ffff;
    if !(40..=MAX_RECORD).contains(&size) {
        return Err(Shape::No);
    }
    c.take(12).ok_or(Shape::More)?;
    let program = c.u32().ok_or(Shape::More)?;
    let version = c.u32().ok_or(Shape::More)?;
    let procedure = c.u32().ok_or(Shape::More)?;
    let flavor = c.u32().ok_or(Shape::More)?;
    let len = c.u32().ok_or(Shape::More)?;
    let name = match program {
        100_000 => "rpcbind",
        100_003 => "nfs",
        100_005 => "mount",
        100_021 => "nlm",
        100_024 => "nsm",
        100_227 => "nfsacl",
        _ => "onc-rpc",
    };
    if version > 16 || procedure > 255 || flavor > 400_000 || len > 400 {
        return Err(Shape::No);
    }
    let credentials = c.take(len as usize).ok_or(Shape::More)?;
    Ok(Call {
        name,
        flavor,
        credentials,
        size: 4 + size as usize,
    })
}

/// The response that accepts TLS: accepted, with an eight-byte verifier that says so. Returns its
/// size.
fn starttls(server: &[u8]) -> Result<usize, Shape> {
    let mut c = Cursor::new(server);
    let mark = c.u32().ok_or(Shape::More)?;
    let size = 4 + (mark & 0x7fff_ffff) as usize;
    let head = c.take(16).ok_or(Shape::More)?;
    let accepted = head[4..12] == [0, 0, 0, 1, 0, 0, 0, 0];
    if !accepted || c.u32().ok_or(Shape::More)? != 8 {
        return Err(Shape::No);
    }
    let agreed = c.take(8).ok_or(Shape::More)? == b"STARTTLS";
    if agreed && size < 512 {
        Ok(size)
    } else {
        Err(Shape::No)
    }
}
