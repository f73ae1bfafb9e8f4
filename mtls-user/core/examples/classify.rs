//! The TCP flows of captures, one JSON record per line: `cargo run -p mtls-core --example classify
//! FILE…`.
//!
//! The core alone, without the program around it: a capture is decoded into segments, a flow table
//! builds flows from them, and each flow becomes a record when it is closed.

use std::io::Write;

use mtls_core::capture::{Capture, Decoded, Decoder};
use mtls_core::flow::{Event, FlowTable, Limits, View};

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for path in std::env::args_os().skip(1) {
        let mut lines = Vec::new();
        let mut sink = |event, view: View<'_>| {
            if event == Event::Closed {
                lines.push(serde_json::to_string(&view.record()));
            }
        };
        let mut decoder = Decoder::default();
        let mut table = FlowTable::new(Limits::default());
        Capture::open(path.as_ref())?.read(
            |_| {},
            |packet| {
                if let Some(Decoded::Segment(segment)) = decoder.decode(packet) {
                    table.observe(&segment, &mut sink);
                }
            },
        )?;
        table.drain(&mut sink);
        for line in lines {
            writeln!(out, "{}", line?)?;
        }
    }
    Ok(())
}
