//! Which interfaces have lost samples since the last query.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use anyhow::Context;
use aya::maps::{Map, MapData, PerCpuArray, PerCpuHashMap};
use mtls_ebpf_common::Interface;

use super::{Counters, Losses};

/// Reads the kernel program's counters of lost samples through descriptors of its own, so that the
/// reader of samples can query them before each batch without waiting.
pub struct LossReader {
    counters: PerCpuArray<MapData, u64>,
    interfaces: PerCpuHashMap<MapData, u32, Interface>,
    /// All counts at the last query.
    total: u64,
    /// Those whose connection is unknown.
    by_interface: HashMap<u32, u64>,
}

impl LossReader {
    pub(super) fn new(counters: OwnedFd, interfaces: OwnedFd) -> anyhow::Result<Self> {
        let open = |map| MapData::from_fd(map).context("open the counters of lost samples");
        Ok(Self {
            counters: PerCpuArray::try_from(Map::PerCpuArray(open(counters)?))?,
            interfaces: PerCpuHashMap::try_from(Map::PerCpuHashMap(open(interfaces)?))?,
            total: 0,
            by_interface: HashMap::new(),
        })
    }

    /// How many samples were lost since the last call, whatever the reason: a few system calls.
    pub fn moved(&mut self) -> u64 {
        let total = Counters::read(&self.counters).lost();
        let moved = total.saturating_sub(self.total);
        self.total = total;
        moved
    }

    /// The interfaces on which samples were lost since the last call whose connection the kernel
    /// program could not identify; it marks all other connections itself.
    pub fn unnamed(&mut self) -> Vec<u32> {
        // Interfaces that no longer exist are dropped.
        let before = std::mem::take(&mut self.by_interface);
        let mut moved = Vec::new();
        for ifindex in self.interfaces.keys().flatten() {
            let losses = Losses::read(&self.interfaces, ifindex);
            let lost = losses.lost_map_full + losses.evicted;
            self.by_interface.insert(ifindex, lost);
            if lost > before.get(&ifindex).copied().unwrap_or(0) {
                moved.push(ifindex);
            }
        }
        moved
    }
}
