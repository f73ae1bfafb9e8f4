//! The kernel program's counters and cost.

use aya::{
    maps::{MapData, PerCpuArray, PerCpuHashMap},
    programs::Program,
};
use mtls_ebpf_common::{Counter, Interface};
use serde::{Deserialize, Serialize};

macro_rules! define {
    (
        node { $($(#[doc = $node_doc:literal])* $node:ident $node_field:ident,)* }
        interface { $($(#[doc = $doc:literal])* $variant:ident $field:ident,)* }
    ) => {
        /// The kernel program's counters since it was loaded, summed over all CPUs.
        ///
        /// When nothing is in flight, `segments` is the sum of `sampled`, `skipped` and
        /// [`Self::lost`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counters {
            $($(#[doc = $node_doc])* pub $node_field: u64,)*
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl Counters {
            fn of(get: impl Fn(Counter) -> u64) -> Self {
                Self {
                    $($node_field: get(Counter::$node),)*
                    $($field: get(Counter::$variant),)*
                }
            }
        }

        /// Samples lost on one interface, by reason.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Losses {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl Losses {
            fn of(get: impl Fn(Counter) -> u64) -> Self {
                Self { $($field: get(Counter::$variant),)* }
            }
        }
    };
}

mtls_ebpf_common::counters!(define);

impl Counters {
    pub(super) fn read(map: &PerCpuArray<MapData, u64>) -> Self {
        // An unreadable entry counts as zero.
        Self::of(|counter| {
            map.get(&(counter as u32), 0)
                .map_or(0, |values| values.iter().sum())
        })
    }

    /// Segments whose samples were lost, whatever the reason.
    pub fn lost(&self) -> u64 {
        self.lost_ring_full + self.lost_map_full + self.lost_unreadable + self.lost_over_share
    }
}

impl Losses {
    pub(super) fn read(map: &PerCpuHashMap<MapData, u32, Interface>, ifindex: u32) -> Self {
        // An interface that is not watched has no losses.
        let Ok(values) = map.get(&ifindex, 0) else {
            return Self::default();
        };
        Self::of(|counter| {
            let at = (counter as u32 - Counter::FIRST_OF_INTERFACE) as usize;
            values.iter().map(|interface| interface.counts[at]).sum()
        })
    }

    /// Segments whose samples were lost, whatever the reason.
    pub fn sum(&self) -> u64 {
        self.lost_ring_full + self.lost_map_full + self.lost_unreadable + self.lost_over_share
    }
}

/// The cost of running one program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramStats {
    /// Its name.
    pub name: String,
    /// The kernel's ID of the program.
    pub id: u32,
    /// Number of runs since measuring began.
    pub run_count: u64,
    /// Their total nanoseconds.
    pub run_time_ns: u64,
    /// Its length after translation by the kernel.
    pub instructions: u32,
    /// Instructions that the verifier processed; Linux 5.16 and later.
    pub verified_instructions: Option<u32>,
}

impl ProgramStats {
    pub(super) fn read(name: &str, program: &Program) -> Option<Self> {
        let info = program.info().ok()?;
        Some(Self {
            name: name.to_owned(),
            id: info.id(),
            run_count: info.run_count(),
            run_time_ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
            // Each is eight bytes.
            instructions: info.size_translated().unwrap_or_default() / 8,
            verified_instructions: info.verified_instruction_count(),
        })
    }
}
