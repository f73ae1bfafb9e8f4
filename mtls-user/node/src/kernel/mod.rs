//! The kernel's side: the program that takes samples, the interfaces that it is attached to, and
//! what it delivers.

mod attach;
#[cfg(feature = "bench")]
mod bench;
mod counters;
mod decode;
pub mod doctor;
mod events;
pub mod links;
mod losses;
mod occupancy;
mod refusal;
mod unreported;
mod uplinks;

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, bail};
use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions,
    maps::{Array, Map, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf},
    programs::SchedClassifier,
    sys::{Stats, enable_stats},
    util::nr_cpus,
};

#[cfg(feature = "bench")]
pub use self::bench::Bench;
pub use self::{
    attach::{Attached, Mode, programs_ahead, programs_on, remove_stale},
    counters::{Counters, Losses, ProgramStats},
    events::{Events, Sample},
    links::{Change, Choice, Link, Links},
    losses::LossReader,
    refusal::{errno, is_gone},
};
use unreported::Unreported;

use mtls_ebpf_common::{Interface, flow::WAYS};
use tokio::io::{Interest, unix::AsyncFd};

use mtls_core::wire::Direction;

/// The object file; empty if the build had no toolchain for it (see `build.rs`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mtls-ebpf.o"));

/// The programs, from the pod's point of view: for what it sends, and for what it receives.
const EGRESS: &str = "mtls_egress";
const INGRESS: &str = "mtls_ingress";

/// Configuration of the kernel program.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often a flow that is done is rechecked; zero means never.
    pub look_again: Duration,
    /// Size of the ring buffer; rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
    /// Connections followed at a time, in buckets of eight, whose number is rounded up to a power
    /// of two. In a full bucket, a new connection replaces a finished one, else an unanswered one,
    /// else the one that has been idle longest.
    pub flows: u32,
    /// Directions of flows that the fast path remembers as done; rounded up to a power of two.
    pub cache: u32,
    /// Whether the kernel program logs unusual events, for `aya-log` to print.
    pub log: bool,
    /// Whether the kernel measures run counts and times from the start, see [`Kernel::measure`].
    pub stats: bool,
    /// Attach with clsact even if tcx is available.
    pub clsact: bool,
    /// Whether to follow datagrams. If the verifier rejects that, as it may on old kernels, they
    /// are only counted.
    pub datagrams: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            look_again: Duration::from_mins(1),
            ring_bytes: 16 << 20,
            flows: 65_536,
            cache: 131_072,
            log: false,
            stats: false,
            clsact: false,
            datagrams: true,
        }
    }
}

/// The loaded kernel program. Dropping it detaches and unloads everything.
pub struct Kernel {
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    interfaces: PerCpuHashMap<MapData, u32, Interface>,
    /// The state of connections, which [`Events`] scans.
    flows: Option<MapData>,
    ring: Option<RingBuf<MapData>>,
    ring_bytes: u32,
    generation: Array<MapData, u32>,
    /// Descriptors of the maps with counters and with losses per interface. Opening them by ID
    /// would require CAP_SYS_ADMIN.
    counted: [OwnedFd; 2],
    links: HashMap<u32, attach::Pair>,
    clsact: bool,
    /// The kernel measures as long as this is open.
    stats: Option<OwnedFd>,
}

impl Kernel {
    /// Loads the programs without attaching them.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        if is_stub() {
            bail!(
                "this binary was built without its kernel program: run `cargo xtask setup`, then `cargo build`"
            );
        }
        let level: u8 = if config.log { 0xff } else { 0 };
        let buckets = |wanted: u32| {
            wanted
                .div_ceil(WAYS as u32)
                .clamp(1, 1 << 20)
                .next_power_of_two()
        };
        let (flows, done, ring) = (
            buckets(config.flows),
            buckets(config.cache),
            ring_size(config.ring_bytes),
        );
        let cpus = nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))? as u32;
        // A quarter of the ring buffer for one interface, however many CPUs its packets are
        // processed on.
        let share = (ring / 4 / cpus).max(16 << 10);
        let half = ring.ilog2() - 1;
        let seed = seed()?;
        let load = |datagrams: u32| -> anyhow::Result<Ebpf> {
            let mut ebpf = EbpfLoader::new()
                .override_global(aya_log::LEVEL, &level, false)
                .override_global("SEED_K0", &seed[0], true)
                .override_global("SEED_M0", &seed[1], true)
                .override_global("SEED_K1", &seed[2], true)
                .override_global("SEED_M1", &seed[3], true)
                .override_global("DATAGRAMS", &datagrams, true)
                .override_global("DONE_MASK", &(done - 1), true)
                .override_global("BUCKET_MASK", &(flows - 1), true)
                .override_global("RING_HALF_LOG2", &half, true)
                .override_global("SHARE", &share, true)
                .map_max_entries("DONE", done)
                .map_max_entries("BUCKETS", flows)
                .map_max_entries("FLOWS", flows * WAYS as u32)
                .map_max_entries("EVENTS", ring)
                .load(OBJECT)
                .map_err(|error| refusal::explain(error, "load the kernel program's maps"))?;
            for name in [EGRESS, INGRESS] {
                program(&mut ebpf, name)?
                    .load()
                    .map_err(|error| refusal::program(error, name))?;
            }
            Ok(ebpf)
        };
        let mut ebpf = if config.datagrams {
            or_less(load)?
        } else {
            load(0)?
        };
        let (counters, interfaces) = (
            take_map(&mut ebpf, "COUNTERS")?,
            take_map(&mut ebpf, "INTERFACES")?,
        );
        let counted = [descriptor(&counters)?, descriptor(&interfaces)?];
        let counters = PerCpuArray::try_from(counters)?;
        let mut interfaces = PerCpuHashMap::try_from(interfaces)?;
        interfaces
            .insert(0, nothing()?, 0)
            .context("make room for the counters of interfaces")?;
        let Map::Array(table) = take_map(&mut ebpf, "FLOWS")? else {
            bail!("the kernel object's map FLOWS is no array: build it again");
        };
        let ring = RingBuf::try_from(take_map(&mut ebpf, "EVENTS")?)?;
        let mut generation = Array::try_from(take_map(&mut ebpf, ".data.generation")?)?;
        generation
            .set(0, 1, 0)
            .context("set the first generation")?;
        let mut kernel = Self {
            ebpf,
            counters,
            interfaces,
            flows: Some(table),
            ring: Some(ring),
            ring_bytes: ring_size(config.ring_bytes),
            generation,
            counted,
            links: HashMap::new(),
            clsact: config.clsact,
            stats: None,
        };
        kernel.measure(config.stats);
        Ok(kernel)
    }

    /// The samples. There is one ring buffer, so a second call is an error.
    ///
    /// Must be called within a tokio runtime.
    pub fn events(&mut self) -> anyhow::Result<Events> {
        let ring = self
            .ring
            .take()
            .context("the events are being read already")?;
        let flows = self
            .flows
            .take()
            .context("the flows are being read already")?;
        let unreported = Unreported::new(&flows).context("map the flow table")?;
        Events::new(ring, self.ring_bytes, unreported).context("watch the ring buffer")
    }

    /// Reports to the reader of samples that some were lost, and where.
    pub fn losses(&self) -> anyhow::Result<LossReader> {
        let [counters, interfaces] = &self.counted;
        LossReader::new(counters.try_clone()?, interfaces.try_clone()?)
    }

    /// Forwards the kernel program's log to the `log` crate, in a task of its own. There is
    /// something to forward only with [`Config::log`].
    ///
    /// Must be called within a tokio runtime.
    pub fn log(&mut self) -> anyhow::Result<()> {
        let logger = aya_log::EbpfLogger::init(&mut self.ebpf).context("read the kernel's log")?;
        // SAFETY: the logger's map owns its descriptor, and is never replaced.
        let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(std::io::Error::from)
            .context("watch the kernel's log")?;
        tokio::spawn(async move {
            while let Ok(mut guard) = logger.readable_mut().await {
                guard.get_inner_mut().flush();
                guard.clear_ready();
            }
        });
        Ok(())
    }

    /// Begins the next recheck interval: each flow that is done is sampled again, from its next
    /// segment on. To be called every [`Config::look_again`].
    pub fn tick(&mut self) -> anyhow::Result<()> {
        let now = self.generation.get(&0, 0).context("read the generation")?;
        // 1 to 255: zero marks an empty entry.
        self.generation
            .set(0, now % 255 + 1, 0)
            .context("set the generation")
    }

    /// Runs a program on the caller's packet, `repeat` times (`BPF_PROG_TEST_RUN`), as if the pod
    /// had sent or received it: for tests and benchmarks. Returns the mean duration of a run.
    pub fn run(
        &self,
        direction: Direction,
        packet: &[u8],
        repeat: u32,
    ) -> anyhow::Result<Duration> {
        let name = if direction == Direction::Egress {
            EGRESS
        } else {
            INGRESS
        };
        let program: &SchedClassifier = self
            .ebpf
            .program(name)
            .with_context(|| format!("the kernel object has no program {name}: build it again"))?
            .try_into()?;
        let options = TestRunOptions {
            data_in: Some(packet),
            repeat,
            ..TestRunOptions::default()
        };
        let result = program
            .test_run(options)
            .with_context(|| format!("run {name}"))?;
        // TC_ACT_UNSPEC: whatever the packet, the next program decides.
        anyhow::ensure!(
            result.return_value == u32::MAX,
            "{name} did not pass the packet on"
        );
        Ok(result.duration)
    }

    /// The kernel program's counters.
    pub fn counters(&self) -> Counters {
        Counters::read(&self.counters)
    }

    /// Starts or stops the kernel's measurement of run counts and times. Measuring makes every BPF
    /// program of the node read the clock twice per run, which costs more than the fast path
    /// itself: measure only for a second on demand. On kernels without support, the numbers stay
    /// zero.
    pub fn measure(&mut self, on: bool) {
        self.stats = on.then(|| enable_stats(Stats::RunTime).ok()).flatten();
    }

    /// The measured cost of running the programs.
    pub fn programs(&self) -> Vec<ProgramStats> {
        [EGRESS, INGRESS]
            .into_iter()
            .filter_map(|name| ProgramStats::read(name, self.ebpf.program(name)?))
            .collect()
    }
}

/// Loads the whole program or, if that is rejected, the one that does not follow datagrams.
fn or_less<T>(load: impl Fn(u32) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let refused = match load(1) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    // If both are rejected, datagrams are not the reason.
    let Ok(loaded) = load(0) else {
        return Err(refused);
    };
    tracing::warn!("UDP is counted and not looked at: {refused:#}");
    Ok(loaded)
}

/// The counters of an interface without counts.
fn nothing() -> anyhow::Result<PerCpuValues<Interface>> {
    let cpus = nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))?;
    Ok(PerCpuValues::try_from(vec![Interface::NEW; cpus])?)
}

/// The build had no toolchain for the kernel program.
pub fn is_stub() -> bool {
    cfg!(mtls_stub)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut SchedClassifier> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the kernel object has no program {name}: build it again"))?;
    Ok(program.try_into()?)
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the kernel object has no map {name}: build it again"))
}

/// Duplicates the descriptor of a map.
fn descriptor(map: &Map) -> anyhow::Result<OwnedFd> {
    let (Map::PerCpuArray(data) | Map::PerCpuHashMap(data) | Map::PerCpuLruHashMap(data)) = map
    else {
        bail!("a map of counters is of another kind than expected: build the kernel object again");
    };
    let descriptor = data.fd().as_fd().try_clone_to_owned();
    descriptor.context("open a map of counters again")
}

/// Keys that nobody on the wire can guess. The multipliers have to be odd.
fn seed() -> anyhow::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    let (words, _) = bytes.as_chunks::<8>();
    let word = |at: usize| u64::from_ne_bytes(words[at]);
    Ok([word(0), word(1) | 1, word(2), word(3) | 1])
}

/// The kernel requires powers of two of at least a page.
fn ring_size(wanted: u32) -> u32 {
    wanted.clamp(64 << 10, 1 << 30).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::or_less;

    #[test]
    fn a_verifier_that_refuses_datagrams_gets_a_program_without() {
        assert_eq!(or_less(Ok).ok(), Some(1));
        let old = |datagrams| match datagrams {
            1 => bail!("too complex"),
            less => Ok(less),
        };
        assert_eq!(or_less(old).ok(), Some(0));
        let never = |datagrams: u32| -> anyhow::Result<()> { bail!("refused: {datagrams}") };
        let error = or_less(never).expect_err("refused").to_string();
        assert_eq!(error, "refused: 1");
    }
}
