//! DNS (RFC 1035), multicast DNS (RFC 6762) and LLMNR (RFC 4795), which share one format.

use super::{Found, Nature, Talk};
use crate::wire::cursor::Cursor;

/// Bytes of a header.
const HEADER: usize = 12;
/// Records in one message; more do not fit into one datagram.
const RECORDS: usize = 4096;

/// The contents of a whole message.
struct Message<'a> {
    id: u16,
    response: bool,
    questions: u16,
    records: usize,
    /// The first question, as it was sent.
    question: &'a [u8],
}

/// A message that ends with the datagram's last byte.
fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let mut c = Cursor::new(bytes);
    let (id, flags) = (c.u16()?, c.u16()?);
    let questions = c.u16()?;
    let records = usize::from(c.u16()?) + usize::from(c.u16()?) + usize::from(c.u16()?);
    // Opcodes in use, and the bit that must be zero.
    if flags & 0x0040 != 0 || !matches!(flags >> 11 & 15, 0..=2 | 4 | 5) || records > RECORDS {
        return None;
    }
    let mut question = &bytes[HEADER..HEADER];
    for n in 0..questions {
        name(&mut c)?;
        let _kind = c.u16()?;
        // Internet, Chaos, Hesiod, none, any; multicast DNS uses the top bit.
        if !matches!(c.u16()? & 0x7fff, 1 | 3 | 4 | 254 | 255) {
            return None;
        }
        if n == 0 {
            question = &bytes[HEADER..bytes.len() - c.len()];
        }
    }
    for _ in 0..records {
        name(&mut c)?;
        let (_kind, _class, _ttl) = (c.u16()?, c.u16()?, c.u32()?);
        c.vec16()?;
    }
    (c.is_empty() && (questions > 0 || records > 0)).then_some(Message {
        id,
        response: flags & 0x8000 != 0,
        questions,
        records,
        question,
    })
}

/// Skips a name: labels, the last of them empty or a pointer.
fn name(c: &mut Cursor<'_>) -> Option<()> {
    loop {
        match c.u8()? {
            0 => return Some(()),
            n @ 1..=63 => drop(c.take(n.into())?),
            0xc0.. => return c.u8().map(|_| ()),
            _ => return None,
        }
    }
}

/// Whether a response echoes a question.
pub(super) fn dns(talk: &Talk<'_>) -> Found {
    let name = match () {
        () if talk.has_port(5353) => "mdns",
        () if talk.has_port(5355) => "llmnr",
        () => "dns",
    };
    let all: Option<Vec<_>> = talk.all().map(|k| message(k.whole()?)).collect();
    let Some(all) = all.filter(|all| !all.is_empty()) else {
        return Found::No;
    };
    let client = all.iter().take(talk.client.len());
    let answered = client.clone().any(|asked| {
        !asked.response
            && all.iter().skip(talk.client.len()).any(|m| {
                m.response && m.id == asked.id && (m.question == asked.question || m.questions == 0)
            })
    });
    if answered {
        return Found::Sure(name, Nature::Plain);
    }
    // One question, or an unsolicited multicast announcement.
    let alone = client.clone().all(|m| {
        !m.response && m.questions == 1 && m.question.len() > 5
            || name == "mdns" && (m.records > 0 || m.questions > 0)
    });
    if alone && talk.server.is_empty() {
        Found::Likely(name, Nature::Plain)
    } else {
        Found::No
    }
}
