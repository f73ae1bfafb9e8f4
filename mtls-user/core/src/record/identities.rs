//! Which connections an edge consists of: what a daemon reports to a client that queries several
//! daemons.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::EdgeList;

/// Connections of one edge with the same properties.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alike {
    /// Index of the edge in the list.
    pub edge: u32,
    /// Whether they are exempt.
    pub exempt: bool,
    /// Their verdict, or the class of their exemption.
    pub what: SmolStr,
    /// The connections: [`FlowRecord::id`](super::FlowRecord::id) as a number.
    pub ids: Vec<u64>,
}

/// The connections of a node's edges. Ids are digests: those below a bound are an unbiased sample
/// of all, and the same one on every node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Identities {
    /// All connections with a smaller id are included, and no others; null: all that have an id.
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

/// An id as a number: a digest as it is, and for any other id (QUIC's have any length), a digest
/// that is the same everywhere (FNV-1a).
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
        // A QUIC connection ID of another length; the expected value is that of the published
        // function.
        assert_eq!(number("a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(number("c0ffee"), number("c0ffef"));
    }
}
