//! The kernel's part of `mtls status`, as record types.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::kernel::{self, Attached, Counters, Losses};
use mtls_core::record::{Interface, Loss, ProgramStats, Word};

/// An interface that is watched.
pub(super) fn interface(attached: Attached) -> Interface {
    Interface {
        ifindex: attached.ifindex,
        name: attached.name.into(),
        mode: attached.mode.to_string().into(),
        ignored: attached.lost.control_ignored,
        lost: losses(attached.lost),
        ..Interface::default()
    }
}

fn losses(lost: Losses) -> BTreeMap<Word<Loss>, u64> {
    BTreeMap::from([
        (Loss::RingFull.into(), lost.lost_ring_full),
        (Loss::MapFull.into(), lost.lost_map_full),
        (Loss::Unreadable.into(), lost.lost_unreadable),
        (Loss::OverShare.into(), lost.lost_over_share),
        (Loss::Fragments.into(), lost.fragments),
    ])
}

/// The cost of running a program.
pub(super) fn program(stats: kernel::ProgramStats) -> ProgramStats {
    ProgramStats {
        name: stats.name,
        id: stats.id,
        run_count: stats.run_count,
        run_time_ns: stats.run_time_ns,
        instructions: stats.instructions,
        verified_instructions: stats.verified_instructions,
    }
}

/// The counters by name: a new one appears in `mtls status` automatically.
pub(super) fn counters(counters: Counters) -> BTreeMap<SmolStr, u64> {
    let named = serde_json::to_value(counters).and_then(serde_json::from_value);
    named.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_name() {
        let counted = counters(Counters {
            sampled: 7,
            ..Counters::default()
        });
        assert_eq!(counted["sampled"], 7);
        assert!(counted.len() >= 11, "{counted:?}");
    }
}
