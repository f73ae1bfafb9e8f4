//! The loaded program, and the expected observations of an exchange.

use std::time::Duration;

use mtls_core::wire::{Direction, Endpoint, TcpFlags};
use mtls_node::kernel::{Config, Events, Kernel};

use super::{Node, Seen, segments, stream, within};

/// Runs `f` in the node's namespace with a runtime, the programs loaded.
pub(crate) fn watching<T: Send>(
    node: &Node,
    config: &Config,
    f: impl FnOnce(&mut Kernel, &mut Events) -> T + Send,
) -> T {
    within(&node.node, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let mut kernel = Kernel::load(config).expect("load");
        let mut events = kernel.events().expect("events");
        f(&mut kernel, &mut events)
    })
}

pub(crate) fn drain(events: &mut Events) -> Vec<Seen> {
    // The last FIN may still be on its way when the last byte has been read.
    std::thread::sleep(Duration::from_millis(100));
    let mut seen = Vec::new();
    events.drain(segments(|segment| seen.push(Seen::from(segment))));
    seen
}

/// Checks that the stream of `src` is `expected`, from its first byte to its FIN.
pub(crate) fn assert_stream(seen: &[Seen], src: Endpoint, expected: &[u8]) {
    let bytes = stream(seen, src);
    let captured: Vec<u8> = bytes.iter().map_while(|byte| *byte).collect();
    assert!(
        captured == expected,
        "{} bytes of {}",
        captured.len(),
        expected.len()
    );
    let fin = seen
        .iter()
        .find(|s| s.src == src && s.flags & TcpFlags::FIN != 0)
        .expect("a FIN");
    let end = fin
        .seq
        .wrapping_add(fin.len)
        .wrapping_sub(fin.isn.0.expect("ISN"))
        .wrapping_sub(1);
    assert_eq!(end as usize, expected.len());
}

/// Checks everything that should be seen of one exchange.
pub(crate) fn assert_exchange(
    seen: &[Seen],
    ends: (Endpoint, Endpoint),
    request: &[u8],
    response: &[u8],
) {
    let (client, server) = ends;
    let syn = seen
        .iter()
        .find(|s| s.flags & TcpFlags::SYN != 0)
        .expect("a SYN");
    assert_eq!(
        (syn.src, syn.dst, syn.flags),
        (client, server, TcpFlags::SYN)
    );
    assert_eq!(
        (syn.isn, syn.direction),
        ((Some(syn.seq), None), Direction::Ingress)
    );
    let answer = seen.iter().find(|s| s.src == server).expect("a SYN-ACK");
    assert_eq!(answer.flags, TcpFlags::SYN | TcpFlags::ACK);
    assert_eq!(answer.isn, (Some(answer.seq), Some(syn.seq)));
    assert_eq!(answer.direction, Direction::Egress);
    assert_stream(seen, client, request);
    assert_stream(seen, server, response);
    for segment in seen {
        assert!(
            !segment.midstream && !segment.again && !segment.lost,
            "{segment:?}"
        );
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as u64;
    assert!(
        now.abs_diff(syn.time) < 60_000_000_000,
        "a time stamp far off"
    );
}

/// Checks that the counters account for every packet.
pub(crate) fn assert_balanced(kernel: &Kernel) {
    let counters = kernel.counters();
    let sum = counters.sampled + counters.skipped + counters.lost();
    assert_eq!(counters.segments, sum, "{counters:?}");
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + (i % 23) as u8).collect()
}
