//! What a packet costs in the kernel program, path by path: `cargo xtask bench kernel`. Needs root.
//!
//! Every number is the median of several runs of `BPF_PROG_TEST_RUN`, all in one process, less what
//! the empty program costs in the same run. Where many flows are wanted, a wrapper counts the
//! sender's port up, and what that alone costs is taken off.

#[path = "../tests/support/packet.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod packet;
#[path = "support/udp.rs"]
mod udp;
#[path = "support/wire.rs"]
mod wire;

use std::time::Instant;

use anyhow::Context;
use mtls_node::kernel::{Bench, Config, Kernel};
use nix::sched::{CloneFlags, unshare};
use packet::{Ip, Packet};
use serde::Serialize;
use wire::Wire;

const ROUNDS: usize = 15;
const REPEAT: u32 = 200_000;
/// Flows of the paths that use each flow once: what fits into the ring between two drains.
const FLOWS: u32 = 8_192;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;

/// One line of the table.
#[derive(Serialize)]
struct Row {
    path: &'static str,
    family: &'static str,
    ns: f64,
    over_empty_ns: f64,
    ratio: f64,
}

struct Family {
    name: &'static str,
    shape: Packet<'static>,
    /// Where the TCP header starts.
    tcp: u32,
}

/// The paths on which a flow is met once; the first two are what memory alone costs of that, the third
/// meets a table that is full of flows that are done.
const PATHS: [&str; 8] = [
    "memory-1",
    "memory-3",
    "new-flow-full",
    "new-flow",
    "syn",
    "sample-100",
    "sample-1400",
    "fin",
];

/// Bytes of a segment that segmentation offload has left whole, all headers included.
const LARGE: usize = 64 << 10;
/// Flows per round that send one.
const LARGE_FLOWS: u16 = 2_048;

impl Family {
    /// One large segment.
    fn large(&self, seq: u32) -> Vec<u8> {
        let tcp = self.tcp as usize;
        // IPv4's length does not hold more.
        let payload = vec![0x80; LARGE - tcp - 20];
        let packet = Packet {
            seq,
            payload: &payload,
            ..self.shape
        };
        packet.bytes()
    }

    /// What a segment of 64 KB costs that is sampled, in nanoseconds, and what the empty program
    /// costs on the same: sent through a veth, as no test run takes it, and timed by the kernel.
    fn measure_large(&self, wire: &Wire) -> anyhow::Result<(f64, f64)> {
        let is_v6 = matches!(self.shape.ip, Ip::V6(_));
        let mut times: [Vec<f64>; 2] = Default::default();
        for (program, times) in ["bench_empty", "mtls_ingress"].into_iter().zip(&mut times) {
            let mut bench = Bench::load(&config())?;
            let _link = bench.attach(program, wire::NAME)?;
            for round in 0..ROUNDS as u32 {
                let seq = round << 20;
                let syn = Packet {
                    seq,
                    flags: SYN,
                    dst_port: 8000 + round as u16,
                    ..self.shape
                };
                let mut large = self.large(seq + 1);
                let port = self.tcp as usize;
                large[port + 2..port + 4].copy_from_slice(&syn.dst_port.to_be_bytes());
                for src_port in 0..LARGE_FLOWS {
                    wire.send(&Packet { src_port, ..syn }.bytes(), self.tcp, is_v6)?;
                }
                bench.measure(true);
                let before = bench.spent(program)?;
                for src_port in 0..LARGE_FLOWS {
                    large[port..port + 2].copy_from_slice(&src_port.to_be_bytes());
                    wire.send(&large, self.tcp, is_v6)?;
                }
                let after = bench.spent(program)?;
                bench.measure(false);
                bench.drain();
                let runs = after.0 - before.0;
                anyhow::ensure!(
                    runs == u64::from(LARGE_FLOWS),
                    "{program} saw {runs} of {LARGE_FLOWS} large segments"
                );
                times.push((after.1 - before.1) as f64 / runs as f64);
            }
            let counters = bench.counters();
            let taken = u64::from(program != "bench_empty");
            let sampled = taken * ROUNDS as u64 * u64::from(LARGE_FLOWS);
            anyhow::ensure!(
                (counters.sampled, counters.lost()) == (sampled, 0),
                "the large segments took another path: {counters:?}"
            );
        }
        let [empty, ours] = times.map(middle);
        Ok((ours, empty))
    }
}

fn main() -> anyhow::Result<()> {
    // The veth is nobody else's, and goes with this process.
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace: run as root")?;
    let wire = Wire::new()?;
    let json = std::env::args().any(|arg| arg == "json" || arg == "--output=json");
    let shape = Packet::default();
    let families = [
        Family {
            name: "ipv4",
            shape,
            tcp: 34,
        },
        Family {
            name: "ipv6",
            shape: Packet {
                ip: Ip::V6(&[]),
                ..shape
            },
            tcp: 54,
        },
        Family {
            name: "vlan",
            shape: Packet {
                tags: &[0x8100],
                ..shape
            },
            tcp: 38,
        },
    ];
    let mut rows = Vec::new();
    for family in &families {
        rows.extend(measure(family, &wire)?);
    }
    for family in &families {
        let empty = rows.iter().find(|row| row.family == family.name);
        let empty = empty.map_or(0.0, |row| row.ns);
        rows.extend(udp::measure(family)?.map(|(path, over_empty_ns)| Row {
            path,
            family: family.name,
            ns: empty + over_empty_ns,
            over_empty_ns,
            ratio: (empty + over_empty_ns) / empty,
        }));
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{:<14} {:<6} {:>9} {:>12} {:>7}",
        "path", "family", "ns", "over empty", "ratio"
    );
    for row in &rows {
        let Row {
            path,
            family,
            ns,
            over_empty_ns,
            ratio,
        } = row;
        println!("{path:<14} {family:<6} {ns:>9.1} {over_empty_ns:>12.1} {ratio:>7.2}");
    }
    let begin = Instant::now();
    let kernel = Kernel::load(&config())?;
    println!("\nloaded in {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
    for program in kernel.programs() {
        let verified = program.verified_instructions.unwrap_or_default();
        println!(
            "{}: {} instructions, {verified} verified",
            program.name, program.instructions
        );
    }
    Ok(())
}

fn config() -> Config {
    Config {
        ring_bytes: 64 << 20,
        flows: 131_072,
        cache: 262_144,
        stats: false,
        ..Config::default()
    }
}

fn measure(family: &Family, wire: &Wire) -> anyhow::Result<Vec<Row>> {
    let payload = [0x80; 1400];
    let shape = family.shape;
    let segment = |payload| Packet { payload, ..shape }.bytes();
    let hundred = segment(&payload[..100]);
    let control = |flags| Packet { flags, ..shape }.bytes();

    let mut bench = Bench::load(&config()).context("load the benchmark's programs")?;
    let empty = median(|| bench.run("bench_empty", &hundred, REPEAT))?;
    bench.rotate(family.tcp, u32::MAX >> 16)?;
    let rotate = median(|| bench.run("bench_rotate", &hundred, REPEAT))?;
    let mut rows = Vec::new();
    let mut add = |path, ns: f64, base: f64| {
        let ns = ns - base + empty;
        let over_empty_ns = ns - empty;
        rows.push(Row {
            path,
            family: family.name,
            ns,
            over_empty_ns,
            ratio: ns / empty,
        });
    };
    add("empty", empty, empty);
    add(
        "pure-ack",
        median(|| bench.run("mtls_egress", &control(ACK), REPEAT))?,
        empty,
    );
    // The first eight segments make it a flow that is done.
    for at in 0..8 {
        let seq = shape.seq + 100 * at;
        bench.run(
            "mtls_egress",
            &Packet {
                seq,
                payload: &payload[..100],
                ..shape
            }
            .bytes(),
            1,
        )?;
    }
    let later = Packet {
        seq: shape.seq + 5000,
        payload: &payload,
        ..shape
    }
    .bytes();
    add(
        "done-warm",
        median(|| bench.run("mtls_egress", &later, REPEAT))?,
        empty,
    );
    let again = Packet {
        src_port: shape.src_port ^ 1,
        flags: SYN,
        ..shape
    };
    add(
        "syn-warm",
        median(|| bench.run("mtls_egress", &again.bytes(), REPEAT))?,
        empty,
    );
    bench.drain();

    fill(&mut bench, family)?;
    add(
        "done-64k",
        median(|| {
            let ns = bench.run("bench_flows", &later, REPEAT);
            // Some share a bucket with more than it has room for, and are sampled each time.
            bench.drain();
            ns
        })?,
        rotate,
    );

    // Sixteen flows that are done share one bucket of four.
    let mut small = Bench::load(&Config {
        cache: 4,
        ..config()
    })?;
    small.rotate(family.tcp, 15)?;
    for at in 0..8 {
        let seq = shape.seq + 100 * at;
        let packet = Packet {
            seq,
            payload: &payload[..100],
            ..shape
        }
        .bytes();
        small.run("bench_flows", &packet, 16)?;
    }
    small.drain();
    add(
        "collision",
        median(|| small.run("bench_flows", &later, REPEAT))?,
        rotate,
    );

    // Each round: new flows, to another port each time, and each of their packets once.
    let mut memory = Bench::load(&config())?;
    let mut full = Bench::load(&Config {
        flows: 65_536,
        ..config()
    })?;
    fill(&mut full, family)?;
    let mut bench = Bench::load(&config())?;
    let mut rounds: [Vec<f64>; PATHS.len()] = Default::default();
    for round in 0..ROUNDS as u32 {
        let seq = round << 20;
        let shape = Packet {
            dst_port: 8000 + round as u16,
            ..shape
        };
        let syn = Packet {
            seq,
            flags: SYN,
            ..shape
        }
        .bytes();
        let data = |len| {
            Packet {
                seq: seq + 1,
                payload: &payload[..len],
                ..shape
            }
            .bytes()
        };
        let fin = |len: usize| {
            Packet {
                seq: seq + 1 + len as u32,
                flags: FIN | ACK,
                ..shape
            }
            .bytes()
        };
        let mut pass = |bench: &mut Bench, path: usize, packet: &[u8]| -> anyhow::Result<()> {
            let program = match PATHS[path] {
                "memory-1" => "bench_one_line",
                "memory-3" => "bench_three_lines",
                _ => "bench_flows",
            };
            bench.rotate(family.tcp, FLOWS - 1)?;
            rounds[path].push(bench.run(program, packet, FLOWS)?);
            bench.drain();
            Ok(())
        };
        // In a table of their own, as they leave nonsense behind.
        pass(&mut memory, 0, &syn)?;
        let elsewhere = Packet {
            dst_port: 9000 + round as u16,
            flags: SYN,
            ..shape
        };
        pass(&mut memory, 1, &elsewhere.bytes())?;
        pass(&mut full, 2, &syn)?;
        pass(&mut bench, 3, &syn)?;
        pass(&mut bench, 4, &syn)?;
        let answer = Packet {
            back: true,
            seq: 77,
            ack: seq + 1,
            flags: SYN | ACK,
            ..shape
        };
        answers(&mut bench, family, &answer)?;
        let (path, len) = if round % 2 == 0 { (5, 100) } else { (6, 1400) };
        pass(&mut bench, path, &data(len))?;
        pass(&mut bench, 7, &fin(len))?;
        // So that it is over, and makes room.
        let farewell = Packet {
            seq: 78,
            ack: seq + 2 + len as u32,
            flags: FIN | ACK,
            ..answer
        };
        answers(&mut bench, family, &farewell)?;
        bench.drain();
    }
    for (path, values) in PATHS.into_iter().zip(rounds) {
        add(path, middle(values), rotate);
    }
    let (large, base) = family.measure_large(wire)?;
    add("sample-64k", large, base);
    let counters = bench.counters();
    anyhow::ensure!(
        counters.lost() == 0,
        "samples were lost, the numbers would be of the wrong path: {counters:?}"
    );
    Ok(rows)
}

/// Makes 65,536 flows that are done.
fn fill(bench: &mut Bench, family: &Family) -> anyhow::Result<()> {
    bench.rotate(family.tcp, 0xffff)?;
    for at in 0..8 {
        let packet = Packet {
            seq: family.shape.seq + 100 * at,
            payload: &[0x80; 100],
            ..family.shape
        }
        .bytes();
        for _ in 0..8 {
            bench.run("bench_flows", &packet, FLOWS)?;
            bench.drain();
        }
    }
    Ok(())
}

/// The other side of each of [`FLOWS`] sends this, to the client's port.
fn answers(bench: &mut Bench, family: &Family, packet: &Packet<'_>) -> anyhow::Result<()> {
    bench.rotate(family.tcp, FLOWS - 1)?;
    bench.run("bench_answers", &packet.bytes(), FLOWS)?;
    Ok(())
}

fn median(mut run: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let values: anyhow::Result<Vec<_>> = (0..ROUNDS).map(|_| run()).collect();
    Ok(middle(values?))
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
