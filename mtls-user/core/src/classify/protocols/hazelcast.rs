//! Hazelcast: three letters say which of its protocols begins (`Protocols`): members' or clients'.

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"HC"), hazelcast)];

fn hazelcast(client: &[u8], server: &[u8]) -> Match {
    let found = match starts(client, b"HZC") {
        // The other member sends the same.
        Shape::Yes => match server {
            [] => Shape::More,
            _ => starts(server, b"HZC"),
        },
        Shape::More => Shape::More,
        // A frame: length, the flags of a first and last frame or of a first one, a type.
        Shape::No => match starts(client, b"CP2") {
            Shape::Yes => match client.get(3..9) {
                Some([low, middle, 0, 0, 0, flags]) => {
                    let len = u16::from_le_bytes([*low, *middle]);
                    let first = flags & 0x80 != 0;
                    if len >= 6 && first {
                        Shape::Yes
                    } else {
                        Shape::No
                    }
                }
                Some(_) => Shape::No,
                None => Shape::More,
            },
            other => other,
        },
    };
    found.then(Match::Yes("hazelcast"))
}
