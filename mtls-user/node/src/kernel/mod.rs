//! The kernel's side of the house: the program that samples, the interfaces it is attached to, and
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

/// The object file; empty where the build had no toolchain for it (see `build.rs`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mtls-ebpf.o"));

/// The programs, as the pod sees it: what it sends, what it gets.
const EGRESS: &str = "mtls_egress";
const INGRESS: &str = "mtls_ingress";

/// How the kernel program is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often a flow that is done is looked at again; zero is never.
    pub look_again: Duration,
    /// Size of the ring buffer; rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
    /// Connections followed at a time, in buckets of eight, rounded up to a power of two of them. In
    /// a full bucket a new connection takes the place of a finished one, else of one without an
    /// answer, else of the one that was quiet longest.
    pub flows: u32,
    /// Directions of flows that the fast path remembers as done; rounded up to a power of two.
    pub cache: u32,
    /// Let the kernel program log what is unusual, for `aya-log` to print.
    pub log: bool,
    /// Have the kernel measure run counts and times from the start, see [`Kernel::measure`].
    pub stats: bool,
    /// Attach by clsact even where there is tcx.
    pub clsact: bool,
    /// Follow datagrams. Where the verifier refuses that, as those of old kernels may, they are counted
    /// as they are without.
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
    /// The state of connections, for [`Events`] to walk through.
    flows: Option<MapData>,
    ring: Option<RingBuf<MapData>>,
    ring_bytes: u32,
    generation: Array<MapData, u32>,
    /// Descriptors of the maps of counters, and of losses per interface. By their numbers they could
    /// be opened by nobody without CAP_SYS_ADMIN.
    counted: [OwnedFd; 2],
    links: HashMap<u32, attach::Pair>,
    clsact: bool,
    /// The kernel measures as long as this is open.
    stats: Option<OwnedFd>,
}

impl Kernel {
    /// Loads the programs; nothing is attached yet.
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
        // A quarter of the ring for one interface, however many processors its packets come from.
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

    /// What tells the reader of samples that some were lost, and where.
    pub fn losses(&self) -> anyhow::Result<LossReader> {
        let [counters, interfaces] = &self.counted;
        LossReader::new(counters.try_clone()?, interfaces.try_clone()?)
    }

    /// Hands what the kernel program logs to the `log` crate, on a task of its own. There is
    /// something to hand over only with [`Config::log`].
    ///
    /// Must be called within a tokio runtime.
    pub fn log(&mut self) -> anyhow::Result<()> {
        let logger = aya_log::EbpfLogger::init(&mut self.ebpf).context("read the kernel's log")?;
        // SAFETY: the logger's map owns its descriptor, and is never exchanged.
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

    /// Begins the next look-again interval: each flow that is done is sampled once more, with its
    /// next segment. To be called every [`Config::look_again`].
    pub fn tick(&mut self) -> anyhow::Result<()> {
        let now = self.generation.get(&0, 0).context("read the generation")?;
        // 1 to 255: zero stands for an empty slot.
        self.generation
            .set(0, now % 255 + 1, 0)
            .context("set the generation")
    }

    /// Runs a program on a packet of the caller's, `repeat` times over (`BPF_PROG_TEST_RUN`), as if
    /// the pod had sent or received it: for tests and benchmarks. The mean duration of a run.
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

    /// What the kernel program has counted so far.
    pub fn counters(&self) -> Counters {
        Counters::read(&self.counters)
    }

    /// Has the kernel measure run counts and times, or stop it. Measuring costs every BPF program of
    /// the node two readings of the clock per run, which is more than the fast path itself: better
    /// measure for a second when somebody asks. Kernels that cannot leave the numbers at zero.
    pub fn measure(&mut self, on: bool) {
        self.stats = on.then(|| enable_stats(Stats::RunTime).ok()).flatten();
    }

    /// What running the programs has cost while it was measured.
    pub fn programs(&self) -> Vec<ProgramStats> {
        [EGRESS, INGRESS]
            .into_iter()
            .filter_map(|name| ProgramStats::read(name, self.ebpf.program(name)?))
            .collect()
    }
}

/// What `load` makes of the whole program, or, where that is refused, of the one that follows no
/// datagrams.
fn or_less<T>(load: impl Fn(u32) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let refused = match load(1) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    // Where both are refused, the reason is not in the datagrams.
    let Ok(loaded) = load(0) else {
        return Err(refused);
    };
    tracing::warn!("UDP is counted and not looked at: {refused:#}");
    Ok(loaded)
}

/// The counters of an interface that has counted nothing yet.
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

/// Another descriptor of a map.
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

/// The kernel takes powers of two of at least a page.
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
