//! What the kernel program counts, and what it costs.

use aya::{
    maps::{MapData, PerCpuArray, PerCpuHashMap},
    programs::Program,
};
use mtls_ebpf_common::Counter;
use serde::{Deserialize, Serialize};

/// What the kernel program has counted since it was loaded, all CPUs together.
///
/// When nothing is in flight, `segments` is the sum of the five that follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Segments with payload, SYN, FIN or RST that the fast path did not let by.
    pub segments: u64,
    /// Of those: delivered to the ring buffer.
    pub sampled: u64,
    /// Of those: seen before, or beyond what is wanted of their direction.
    pub skipped: u64,
    /// Of those: lost, as the ring buffer was full.
    pub lost_ring_full: u64,
    /// Of those: lost, as the flow found no place in the map.
    pub lost_map_full: u64,
    /// Of those: lost, as the bytes could not be read from the packet.
    pub lost_unreadable: u64,
    /// TCP in IP fragments, which is passed by.
    pub fragments: u64,
    /// Packets whose lengths contradict each other.
    pub malformed: u64,
    /// Flows met at their SYN.
    pub flows: u64,
    /// Flows met in midstream.
    pub midstream: u64,
    /// Directions looked at again after they were done.
    #[serde(rename = "resampled")]
    pub again: u64,
}

impl Counters {
    pub(super) fn read(map: &PerCpuArray<MapData, u64>) -> Self {
        // A slot that cannot be read has counted nothing that could be told.
        let get = |counter: Counter| {
            map.get(&(counter as u32), 0)
                .map_or(0, |values| values.iter().sum())
        };
        Self {
            segments: get(Counter::Segments),
            sampled: get(Counter::Sampled),
            skipped: get(Counter::Skipped),
            lost_ring_full: get(Counter::RingFull),
            lost_map_full: get(Counter::MapFull),
            lost_unreadable: get(Counter::Unreadable),
            fragments: get(Counter::Fragments),
            malformed: get(Counter::Malformed),
            flows: get(Counter::Flows),
            midstream: get(Counter::Midstream),
            again: get(Counter::Again),
        }
    }

    /// Segments whose samples were lost, whatever the reason.
    pub fn lost(&self) -> u64 {
        self.lost_ring_full + self.lost_map_full + self.lost_unreadable
    }
}

/// Segments whose samples were lost on one interface, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// The ring buffer was full.
    pub ring_full: u64,
    /// The flow found no place in the map.
    pub map_full: u64,
    /// The bytes could not be read from the packet.
    pub unreadable: u64,
}

impl Losses {
    pub(super) fn read(
        map: &PerCpuHashMap<MapData, u32, mtls_ebpf_common::Losses>,
        ifindex: u32,
    ) -> Self {
        // An interface that lost nothing is not in there.
        let Ok(values) = map.get(&ifindex, 0) else {
            return Self::default();
        };
        let sum = |reason: usize| values.iter().map(|losses| losses[reason]).sum();
        Self {
            ring_full: sum(0),
            map_full: sum(1),
            unreadable: sum(2),
        }
    }

    /// Whatever the reason.
    pub fn sum(&self) -> u64 {
        self.ring_full + self.map_full + self.unreadable
    }
}

/// What running one program has cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramStats {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub id: u32,
    /// Times it ran since measuring began.
    pub run_count: u64,
    /// Nanoseconds that took.
    pub run_time_ns: u64,
    /// Its length, once translated by the kernel.
    pub instructions: u32,
    /// Instructions that the verifier walked through; Linux 5.16 and later.
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
