//! Time.
//!
//! Everything inside the daemon uses the boot clock, which nobody sets and which advances while the
//! machine sleeps, so that ages, windows and timeouts are independent of jumps of the wall clock.
//! Only what leaves the daemon has wall-clock times, from [`wall`].

use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, the clock of the kernel program's time stamps.
fn boot() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}

/// The wall-clock time of boot according to the current wall clock, in nanoseconds since the Unix
/// epoch.
fn boot_by_wall() -> u64 {
    read(ClockId::CLOCK_REALTIME).saturating_sub(boot())
}

/// The offset from nanoseconds since boot to the daemon's time: the wall-clock time of boot, as
/// determined by this process's first call and constant after that.
pub fn epoch() -> u64 {
    static EPOCH: OnceLock<u64> = OnceLock::new();
    *EPOCH.get_or_init(boot_by_wall)
}

/// Nanoseconds since the Unix epoch, advancing steadily whatever happens to the wall clock.
pub fn now() -> u64 {
    epoch() + boot()
}

/// Converts a time from [`now`] to the current wall clock. Zero means "never", and stays zero.
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
