//! HL7 version 2 in its TCP framing (HL7's "Minimal Lower Layer Protocol"): a start character, and
//! a header segment with its separators.

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0x0b]), hl7)];

fn hl7(client: &[u8], _server: &[u8]) -> Match {
    let found = ["MSH", "FHS", "BHS"].map(|segment| {
        let head = [&[0x0b], segment.as_bytes()].concat();
        match (starts(client, &head), client.get(4..8)) {
            (Shape::Yes, None) => Shape::More,
            (Shape::Yes, Some(separators)) if separators.iter().all(u8::is_ascii_punctuation) => {
                Shape::Yes
            }
            (Shape::Yes, Some(_)) => Shape::No,
            (other, _) => other,
        }
    });
    let found = found.into_iter().max_by_key(|shape| *shape as u8);
    found.unwrap_or(Shape::No).then(Match::Yes("hl7"))
}
