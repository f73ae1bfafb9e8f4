//! The counts, per series, with their label values.

use std::fmt;

use smol_str::{SmolStr, format_smolstr};

use super::labels::{Labels, Sides};
use super::meter::Snapshot;
use super::rows::{Count, Edge, Happened, Happenings, Likeness};
use crate::clock::wall;

impl Snapshot {
    /// The counts with their label values.
    pub(super) fn each_count(
        &self,
        mut add: impl FnMut(&[&str], Count) -> fmt::Result,
    ) -> fmt::Result {
        for edge in &self.edges {
            let ends = Ends::of(&edge.labels);
            for row in &edge.rows {
                let Likeness {
                    verdict,
                    exempt,
                    outcome,
                    mark,
                } = row.like;
                let mark = mark.map_or("", |mark| mark.as_str());
                let exempt = exempt.map_or("", |exempt| exempt.as_str());
                for (side, count) in Sides::NAMES.into_iter().zip(row.at) {
                    if count.connections > 0 || count.open > 0 {
                        let like = [verdict.as_str(), exempt, outcome.as_str(), mark];
                        let labels = [&[side][..], &ends.values(), &like].concat();
                        add(&labels, count)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Events on edges with their label values.
    pub(super) fn each_happening(
        &self,
        what: impl Fn(&Edge) -> &Happenings,
        mut add: impl FnMut(&[&str], Happened) -> fmt::Result,
    ) -> fmt::Result {
        for edge in &self.edges {
            for (side, happened) in Sides::NAMES.into_iter().zip(what(edge)) {
                if happened.count > 0 {
                    let ends = Ends::of(&edge.labels);
                    add(&[&[side][..], &ends.values()].concat(), *happened)?;
                }
            }
        }
        Ok(())
    }
}

/// The label values of an edge.
struct Ends<'a> {
    labels: &'a Labels,
    port: SmolStr,
}

impl<'a> Ends<'a> {
    fn of(labels: &'a Labels) -> Self {
        let port = labels.port.map(|port| format_smolstr!("{port}"));
        Self {
            labels,
            port: port.unwrap_or_else(|| "other".into()),
        }
    }

    fn values(&self) -> [&str; 6] {
        let (source, destination) = (&self.labels.source, &self.labels.destination);
        [
            &source.namespace,
            &source.workload,
            &destination.namespace,
            &destination.workload,
            &self.port,
            &self.labels.transport,
        ]
    }
}

/// In seconds of the wall clock.
pub(super) fn seconds(time: u64) -> f64 {
    wall(time) as f64 / 1e9
}
