//! OpenWire, ActiveMQ's protocol: a size, the type of a format description, its magic.

use super::{First, Match, Recogniser, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), openwire)];

fn openwire(client: &[u8], _server: &[u8]) -> Match {
    let mut head = [None; 13];
    [head[0], head[1], head[4]] = [Some(0), Some(0), Some(1)];
    for (place, byte) in head[5..].iter_mut().zip(b"ActiveMQ") {
        *place = Some(*byte);
    }
    shape(client, &head).then(Match::Yes("openwire"))
}
