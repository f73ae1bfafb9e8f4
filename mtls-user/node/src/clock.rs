//! Time.
//!
//! Everything inside the daemon is timed by the boot clock, which nobody sets and which goes on
//! while the machine sleeps: ages, windows and time-outs do not care when the wall clock jumps. Only
//! what leaves the daemon is stamped by the wall clock, with [`wall`].

use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, in which the kernel program stamps its events too.
fn boot() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}

/// The wall-clock time of boot, in nanoseconds since the Unix epoch, by the wall clock of now.
fn boot_by_wall() -> u64 {
    read(ClockId::CLOCK_REALTIME).saturating_sub(boot())
}

/// What turns nanoseconds since boot into the daemon's time: the wall-clock time of boot as it was
/// when this process first asked, and the same from then on.
pub fn epoch() -> u64 {
    static EPOCH: OnceLock<u64> = OnceLock::new();
    *EPOCH.get_or_init(boot_by_wall)
}

/// Nanoseconds since the Unix epoch, going on evenly whatever happens to the wall clock.
pub fn now() -> u64 {
    epoch() + boot()
}

/// A time as [`now`] gives it, by the wall clock of this moment. Zero stands for "never", and stays.
pub fn wall(time: u64) -> u64 {
    if time == 0 {
        return 0;
    }
    let (epoch, today) = (epoch(), boot_by_wall());
    let shift = today.abs_diff(epoch);
    // The two clocks are not read at the same instant.
    if shift < 1_000_000 {
        time
    } else if today > epoch {
        time.saturating_add(shift)
    } else {
        time.saturating_sub(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_as_it_is() {
        let real = read(ClockId::CLOCK_REALTIME);
        assert!(now().abs_diff(real) < 1_000_000_000);
        assert!(wall(now()).abs_diff(real) < 1_000_000_000);
        assert_eq!(wall(0), 0);
    }
}
