//! MongoDB (wire protocol, "Standard Message Header"): length, request id, 0, opcode.

use super::{First, Match, Recogniser};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::ANY, mongodb)];

fn mongodb(client: &[u8], _server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (Some(len), Some(_), Some(to), Some(code)) =
        (c.u32_le(), c.u32_le(), c.u32_le(), c.u32_le())
    else {
        let to = client.get(8..).unwrap_or_default();
        let may = client.get(3).is_none_or(|b| *b <= 2) && to.iter().take(4).all(|b| *b == 0);
        return if may { Match::More } else { Match::No };
    };
    let known = matches!(code, 2001 | 2002 | 2004..=2007 | 2010 | 2012 | 2013);
    Match::of(
        (16..=48_000_000).contains(&len) && to == 0 && known,
        "mongodb",
    )
}
