//! The memory of a directory with ten thousand pods, and the duration of a lookup. `cargo xtask
//! bench pods` runs it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mtls_core::record::Workload;
use mtls_node::pods::{Directory, Entry, Facts, Source};

const PODS: u32 = 10_000;
const LOOKUPS: u32 = 5_000_000;

/// Counts allocations.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number * 7).into()
}

fn pod(number: u32) -> Entry {
    Entry {
        workload: Workload {
            name: format!("service-{}", number / 20).into(),
            namespace: format!("team-{}", number % 50).into(),
            kind: "deployment".into(),
            pod: Some(format!("service-{}-7d9c5b6f4-x{number:05}", number / 20).into()),
            service_account: Some(format!("service-{}", number / 20).into()),
            stale: None,
        },
        addresses: vec![address(number)],
        uid: format!("3f5e7f7a-91d2-4a44-9a3c-{number:012}").into(),
        facts: Facts {
            labels: vec![
                (
                    "app.kubernetes.io/name".into(),
                    format!("service-{}", number / 20),
                ),
                ("app.kubernetes.io/version".into(), "1.2.3".into()),
            ],
            node: Some(format!("node-{}", number % 100).into()),
            ..Facts::default()
        },
        ..Entry::default()
    }
}

/// Duration of one of `LOOKUPS` calls: the best of a few rounds, because others use this machine
/// too.
fn measure(mut call: impl FnMut(IpAddr)) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let mut number = 1;
        let began = Instant::now();
        for _ in 0..LOOKUPS / 5 {
            // Visits all of them in an order that no cache can predict.
            number = (number * 5 + 3) % PODS;
            call(address(number));
        }
        best = best.min(began.elapsed() / (LOOKUPS / 5));
    }
    best
}

fn main() {
    let before = HELD.load(Ordering::Relaxed);
    let directory = Directory::new();
    let entries: Vec<Entry> = (0..PODS).map(pod).collect();
    let began = Instant::now();
    directory.publish(Source::Kubernetes, entries.clone(), 1);
    let first = began.elapsed();
    let mut changed = entries;
    changed.truncate(PODS as usize - 1);
    changed.push(pod(PODS));
    let changed: Vec<_> = changed.into_iter().map(std::sync::Arc::new).collect();
    let began = Instant::now();
    directory.publish(Source::Kubernetes, changed, 2);
    let again = began.elapsed();
    let held = HELD.load(Ordering::Relaxed) - before;
    let found = measure(|ip| {
        black_box(directory.find(black_box(ip), 443, 3));
    });
    let named = measure(|ip| {
        black_box(directory.name(black_box(ip), 443, 3));
    });
    println!("pods                 {PODS}");
    println!(
        "memory               {:.1} MiB",
        held as f64 / f64::from(1 << 20)
    );
    println!("  a pod              {} bytes", held / PODS as usize);
    println!("publish all          {:.1} ms", first.as_secs_f64() * 1e3);
    println!("publish one change   {:.1} ms", again.as_secs_f64() * 1e3);
    println!("look-up              {} ns", found.as_nanos());
    println!("look-up and copy     {} ns", named.as_nanos());
    if found > Duration::from_nanos(100) {
        eprintln!("a look-up takes more than 100 ns");
        std::process::exit(1);
    }
}
