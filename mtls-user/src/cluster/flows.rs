//! The connections of all nodes, each once.

use mtls_core::record::{FlowList, join_flows};

use super::Cluster;

/// Connections that all daemons together may report, and one at the least and at the most.
const FLOWS: (usize, usize, usize) = (1 << 18, 1 << 10, 1 << 15);

impl Cluster {
    /// The connections that the nodes remember, the latest last.
    pub(crate) async fn flows(&self) -> anyhow::Result<FlowList> {
        let (all, least, most) = FLOWS;
        let each = (all / self.daemons.all.len().max(1)).clamp(least, most);
        let path = self.path("/v1/flows", &[format!("connections={each}")]);
        let asked = self.ask::<FlowList>(&path).await;
        self.somebody(&asked.nodes)?;
        let mut list = join_flows(asked.answers, asked.nodes);
        list.items.retain(|flow| self.takes([&flow.src, &flow.dst]));
        Ok(list)
    }
}
