//! A line of `mtls tap` and of the daemon's stream of events.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Event, FlowRecord, SCHEMA, Word};

/// Number of events that were skipped because the reader was too slow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    /// Version of the schema.
    pub schema: u32,
    /// `missed`.
    pub event: Word<Event>,
    /// The node.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// How many.
    pub missed: u64,
}

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TapLine {
    /// Events were lost on the way to this reader.
    Missed(Missed),
    /// An event of a flow; its `event` is set.
    Flow(Arc<FlowRecord>),
}

impl TapLine {
    /// The line that says how many events of `node` were skipped.
    pub fn missed(node: Option<SmolStr>, missed: u64) -> Self {
        Self::Missed(Missed {
            schema: SCHEMA,
            event: Event::Missed.into(),
            node,
            missed,
        })
    }

    /// Reads a line of JSON.
    pub fn read(line: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            event: Word<Event>,
        }
        let head: Head = serde_json::from_slice(line)?;
        Ok(if head.event == Event::Missed {
            Self::Missed(serde_json::from_slice(line)?)
        } else {
            Self::Flow(serde_json::from_slice(line)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let flow = FlowRecord {
            event: Some(Event::Revised.into()),
            connection: Some(7),
            ..FlowRecord::default()
        };
        for line in [
            TapLine::Flow(flow.into()),
            TapLine::missed(Some("node-1".into()), 9),
        ] {
            let json = serde_json::to_vec(&line).unwrap();
            assert_eq!(TapLine::read(&json).unwrap(), line);
        }
        assert!(TapLine::read(b"{\"event\":\"closed\"}").is_err());
        assert!(TapLine::read(b"{\"missed\":1").is_err());
    }
}
