//! What a packet costs in the kernel program, path by path: `cargo xtask bench kernel`. Needs root.
//!
//! Every number is the median of several runs of `BPF_PROG_TEST_RUN`, all in one process, less what
//! the empty program costs in the same run. Where many flows are wanted, a wrapper counts the
//! sender's port up, and what that alone costs is taken off.

#[path = "../tests/support/packet.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod packet;

use std::time::Instant;

use anyhow::Context;
use mtls_ebpf_common::bench::LARGE;
use mtls_user::kernel::{Bench, Config, Kernel};
use packet::{Ip, Packet};
use serde::Serialize;

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

/// The paths on which a flow is met once.
const PATHS: [&str; 6] = [
    "new-flow",
    "syn",
    "sample-100",
    "sample-1400",
    "sample-64k",
    "fin",
];

impl Family {
    /// A packet whose header says that it is as long as `bench_large` makes it.
    fn enlarged(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let tcp = self.tcp as usize;
        // IPv4 counts its own header (RFC 791 §3.1), IPv6 does not (RFC 8200 §3).
        let (at, counted_from) = match self.shape.ip {
            Ip::V4 => (tcp - 18, tcp - 20),
            Ip::V6(_) => (tcp - 36, tcp),
        };
        let length = (LARGE as usize - counted_from) as u16;
        packet[at..at + 2].copy_from_slice(&length.to_be_bytes());
        packet
    }
}

fn main() -> anyhow::Result<()> {
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
        rows.extend(measure(family)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{:<12} {:<6} {:>9} {:>12} {:>7}",
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
        println!("{path:<12} {family:<6} {ns:>9.1} {over_empty_ns:>12.1} {ratio:>7.2}");
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

fn measure(family: &Family) -> anyhow::Result<Vec<Row>> {
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
    bench.drain();

    // 65,536 flows, done.
    bench.rotate(family.tcp, 0xffff)?;
    for at in 0..8 {
        let seq = shape.seq + 100 * at;
        let packet = Packet {
            seq,
            payload: &payload[..100],
            ..shape
        }
        .bytes();
        for _ in 0..8 {
            bench.run("bench_flows", &packet, FLOWS)?;
            bench.drain();
        }
    }
    add(
        "done-64k",
        median(|| bench.run("bench_flows", &later, REPEAT))?,
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
    let mut rounds: [Vec<f64>; 6] = Default::default();
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
        let fin = Packet {
            seq: seq + 1,
            flags: FIN | ACK,
            ..shape
        }
        .bytes();
        let mut pass = |path: usize, program: &str, packet: &[u8]| -> anyhow::Result<()> {
            bench.rotate(family.tcp, FLOWS - 1)?;
            rounds[path].push(bench.run(program, packet, FLOWS)?);
            bench.drain();
            Ok(())
        };
        pass(0, "bench_flows", &syn)?;
        pass(1, "bench_flows", &syn)?;
        match round % 3 {
            0 => pass(2, "bench_flows", &data(100))?,
            1 => pass(3, "bench_flows", &data(1400))?,
            _ => pass(4, "bench_large", &family.enlarged(data(100)))?,
        }
        pass(5, "bench_flows", &fin)?;
    }
    for (path, values) in PATHS.into_iter().zip(rounds) {
        add(path, middle(values), rotate);
    }
    let lost = bench.counters().lost();
    anyhow::ensure!(
        lost == 0,
        "{lost} samples lost: the numbers would be of the wrong path"
    );
    Ok(rows)
}

fn median(mut run: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let values: anyhow::Result<Vec<_>> = (0..ROUNDS).map(|_| run()).collect();
    Ok(middle(values?))
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
