//! How long ago an event was that the kernel stamped in hundredths of a second since boot.
//!
//! For every interface, the kernel reports the creation time of its IPv6 part
//! (`IFLA_INET6_CACHEINFO`), which is created with it. It is counted in ticks, which drift from the
//! clocks, so it is compared with the current tick count.

use std::time::Duration;

use nix::libc;
use nix::time::{ClockId, clock_gettime};

/// Kernel ticks per second.
const HZ: [u64; 4] = [100, 250, 300, 1000];

/// The time from a stamp until now; `None` if it is implausible.
pub(super) fn since(stamp: u32) -> Option<Duration> {
    let now = hundredths()?;
    // A stamp has 32 bits.
    let age = (now as u32).wrapping_sub(stamp);
    // A larger age means an interface that was changed, or a stamp from after `now` was read.
    (age < 60 * 100).then(|| Duration::from_millis(u64::from(age) * 10))
}

/// Hundredths of a second since boot, in kernel ticks.
fn hundredths() -> Option<u64> {
    let mut unused = libc::tms {
        tms_utime: 0,
        tms_stime: 0,
        tms_cutime: 0,
        tms_cstime: 0,
    };
    // SAFETY: the struct is valid for writes, and outlives the call.
    let ticks = unsafe { libc::times(&raw mut unused) } as u64;
    let boot = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let boot = boot.tv_sec() as u64 * 100 + boot.tv_nsec() as u64 / 10_000_000;
    // `times(2)`: its zero is 2^32 ticks minus 300 seconds before boot, at a rate that is not
    // reported.
    let zero = |hz: u64| ((1 << 32) - 300 * hz) * 100 / hz;
    let since_boot = HZ.map(|hz| ticks.wrapping_sub(zero(hz)));
    let nearest = since_boot.into_iter().min_by_key(|at| at.abs_diff(boot))?;
    // The ticks and the clock must roughly agree; otherwise the rate is different.
    (nearest.abs_diff(boot) <= boot / 100 + 100).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_go_with_the_clock() {
        let first = hundredths().expect("a tick rate that is known");
        std::thread::sleep(Duration::from_millis(300));
        let passed = hundredths().expect("the same rate") - first;
        assert!((25..200).contains(&passed), "{passed} hundredths in 300 ms");
        assert!(since(first as u32).is_some_and(|age| age >= Duration::from_millis(250)));
        assert_eq!(since((first + 1_000) as u32), None);
    }
}
