//! Which connections an edge is made of: what a daemon tells whoever asks several of them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::EdgeList;

/// Connections of one edge that are alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alike {
    /// Which of the list's edges.
    pub edge: u32,
    /// They are exempt.
    pub exempt: bool,
    /// Their verdict, or the class that they are exempt as.
    pub what: SmolStr,
    /// The connections: [`FlowRecord::id`](super::FlowRecord::id) as a number.
    pub ids: Vec<u64>,
}

/// The connections of a node's edges. Ids are digests: those below a bound are a fair sample of all,
/// and the same one on every node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Identities {
    /// All connections with a smaller id are here, and no others; null: all that have one.
    pub below: Option<u64>,
    /// The connections.
    pub items: Vec<Alike>,
}

/// The edges of a node with their connections.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeEdges {
    /// The edges.
    pub edges: EdgeList,
    /// The connections.
    pub identities: Identities,
}

/// An id as a number: digests as they are, and of whatever else is an id (QUIC's are of any length)
/// a digest that is the same everywhere (FNV-1a).
pub fn number(id: &str) -> u64 {
    let digest = (id.len() == 16).then(|| u64::from_str_radix(id, 16).ok());
    digest.flatten().unwrap_or_else(|| {
        id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn an_id_is_the_same_number_everywhere() {
        assert_eq!(number("00000000000000ff"), 255);
        assert_eq!(number("ffffffffffffffff"), u64::MAX);
        // Of a QUIC connection ID of another length; what the published function gives.
        assert_eq!(number("a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(number("c0ffee"), number("c0ffef"));
    }
}
