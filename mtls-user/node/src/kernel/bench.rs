//! The programs together with the benchmark's own ones, run on the caller's packets.

use anyhow::Context;
use aya::{
    TestRun, TestRunOptions,
    maps::{Array, RingBuf},
    programs::{SchedClassifier, tc::SchedClassifierLink},
};
use mtls_ebpf_common::bench::Rotation;

use super::{Config, Counters, Kernel, Mode, ProgramStats, program};

/// A loaded kernel program to measure; not attached to anything.
pub struct Bench {
    kernel: Kernel,
}

impl Bench {
    /// Loads the programs.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let mut kernel = Kernel::load(config)?;
        for name in [
            "bench_empty",
            "bench_rotate",
            "bench_flows",
            "bench_answers",
            "bench_one_line",
            "bench_three_lines",
        ] {
            program(&mut kernel.ebpf, name)?.load()?;
        }
        Ok(Self { kernel })
    }

    /// From now on, the benchmark's programs increment a port from 0 to `mask` and start again.
    /// `ports`: the ports' offset in the packet.
    pub fn rotate(&mut self, ports: u32, mask: u32) -> anyhow::Result<()> {
        let map = self
            .kernel
            .ebpf
            .map_mut("ROTATION")
            .context("the object has no ROTATION")?;
        let rotation = Rotation {
            offset: ports,
            next: 0,
            mask,
        };
        Ok(Array::try_from(map)?.set(0, rotation, 0)?)
    }

    /// Runs a program `repeat` times on one packet; returns nanoseconds per run.
    pub fn run(&self, name: &str, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        let program: &SchedClassifier = self
            .kernel
            .ebpf
            .program(name)
            .with_context(|| format!("the object has no program {name}"))?
            .try_into()?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(packet),
            repeat,
            ..TestRunOptions::default()
        })?;
        Ok(result.duration.as_nanos() as f64)
    }

    /// Attaches a program to an interface's egress, for as long as the link is kept.
    pub fn attach(&mut self, name: &str, interface: &str) -> anyhow::Result<SchedClassifierLink> {
        let link = self.kernel.attach_one(interface, name, Mode::Tcx);
        link.with_context(|| format!("attach {name} to {interface}"))
    }

    /// Starts or stops the kernel's measurement of every run.
    pub fn measure(&mut self, on: bool) {
        self.kernel.measure(on);
    }

    /// Measured runs of a program, and their total nanoseconds.
    pub fn spent(&self, name: &str) -> anyhow::Result<(u64, u64)> {
        let program = self.kernel.ebpf.program(name);
        let stats = program.and_then(|program| ProgramStats::read(name, program));
        let stats = stats.with_context(|| format!("no statistics of {name}"))?;
        Ok((stats.run_count, stats.run_time_ns))
    }

    /// Empties the ring.
    pub fn drain(&mut self) {
        if let Some(ring) = self.kernel.ring.as_mut() {
            let ring: &mut RingBuf<_> = ring;
            while ring.next().is_some() {}
        }
    }

    /// The programs' counters.
    pub fn counters(&self) -> Counters {
        self.kernel.counters()
    }
}
