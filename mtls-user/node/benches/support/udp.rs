//! The paths of datagrams.

use mtls_node::kernel::Bench;

use crate::packet::Packet;
use crate::{FLOWS, Family, REPEAT, ROUNDS, config, median, middle};

/// Datagrams after which a direction is done.
const BUDGET: u32 = 32;

/// Each path with its cost above the empty program, in nanoseconds: a datagram of a flow that is
/// done; of one of 65,536 such flows; the first datagram of a flow, of 100 and of 1,400 bytes; and
/// the second.
pub(crate) fn measure(family: &Family) -> anyhow::Result<[(&'static str, f64); 5]> {
    let payload = [0x11; 1400];
    // The builder writes a TCP header, whose sequence number is where UDP has length and checksum.
    let datagram = |port, payload: &'static [u8]| {
        let packet = Packet {
            proto: 17,
            dst_port: port,
            seq: (20 + payload.len() as u32) << 16,
            payload,
            ..family.shape
        };
        packet.bytes()
    };
    let payload: &'static [u8] = Box::leak(Box::new(payload));
    let mut bench = Bench::load(&config())?;
    let one = datagram(4433, payload);
    let empty = median(|| bench.run("bench_empty", &one, REPEAT))?;
    bench.rotate(family.tcp, u32::MAX >> 16)?;
    let rotate = median(|| bench.run("bench_rotate", &one, REPEAT))?;
    bench.run("mtls_egress", &one, BUDGET)?;
    bench.drain();
    let done = median(|| bench.run("mtls_egress", &one, REPEAT))? - empty;
    let before = bench.counters().segments;
    let many = datagram(4434, &payload[..100]);
    for _ in 0..BUDGET * 8 {
        bench.run("bench_flows", &many, FLOWS)?;
        bench.drain();
    }
    let done_many = median(|| bench.run("bench_flows", &many, REPEAT))? - rotate;
    anyhow::ensure!(
        bench.counters().segments - before < u64::from(BUDGET * 8 * FLOWS) * 2,
        "the datagrams took another path: {:?}",
        bench.counters()
    );
    let mut fresh: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS as u16 {
        for (path, (port, payload)) in [
            (8000, &payload[..100]),
            (9000, payload),
            (8000, &payload[..100]),
        ]
        .into_iter()
        .enumerate()
        {
            bench.rotate(family.tcp, FLOWS - 1)?;
            let ns = bench.run("bench_flows", &datagram(port + round, payload), FLOWS)?;
            fresh[path].push(ns - rotate);
            bench.drain();
        }
    }
    let [new, large, next] = fresh.map(middle);
    Ok([
        ("udp-done", done),
        ("udp-done-64k", done_many),
        ("udp-new-100", new),
        ("udp-new-1400", large),
        ("udp-next-100", next),
    ])
}
