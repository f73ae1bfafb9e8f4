//! Rate limits, like client-go's for Events: per pod, a burst and then a few per hour; and for all
//! pods together, a limit that does not burden the API server.

use std::collections::HashMap;
use std::hash::Hash;

/// Burst per pod, and the time in nanoseconds until one more is allowed: client-go's defaults.
const EACH: Rate = Rate {
    burst: 25.0,
    every: 300_000_000_000,
};
/// The same for all pods of a node.
const ALL: Rate = Rate {
    burst: 100.0,
    every: 6_000_000_000,
};
/// Most pods that are distinguished; more than any node runs.
const MAX: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    every: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: u64,
}

impl Bucket {
    fn full(rate: Rate, now: u64) -> Self {
        Self {
            left: rate.burst,
            at: now,
        }
    }

    fn fill(&mut self, rate: Rate, now: u64) {
        let since = now.saturating_sub(self.at) as f64;
        self.left = (self.left + since / rate.every as f64).min(rate.burst);
        self.at = now;
    }
}

/// Decides whether each write is permitted.
#[derive(Debug)]
pub struct Limiter<K> {
    each: HashMap<K, Bucket>,
    all: Bucket,
}

impl<K: Eq + Hash> Limiter<K> {
    /// The total number permitted at `now`, in nanoseconds.
    pub fn new(now: u64) -> Self {
        Self {
            each: HashMap::new(),
            all: Bucket::full(ALL, now),
        }
    }

    /// Whether one more write for `key` is permitted; if so, it is counted.
    pub fn allows(&mut self, key: K, now: u64) -> bool {
        self.all.fill(ALL, now);
        if self.each.len() >= MAX && !self.each.contains_key(&key) {
            // A bucket that is full again is like a new one.
            self.each.retain(|_, bucket| {
                bucket.fill(EACH, now);
                bucket.left < EACH.burst
            });
            if self.each.len() >= MAX {
                return false;
            }
        }
        let own = self
            .each
            .entry(key)
            .or_insert_with(|| Bucket::full(EACH, now));
        own.fill(EACH, now);
        let may = own.left >= 1.0 && self.all.left >= 1.0;
        if may {
            own.left -= 1.0;
            self.all.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many are written per hour if there is something to write a hundred times per second.
    fn of_an_hour(pods: u64) -> u64 {
        let mut limiter = Limiter::new(0);
        (0..360_000)
            .filter(|n| limiter.allows(n % pods, n * SECOND / 100))
            .count() as u64
    }

    #[test]
    fn the_bounds_are_those_of_the_documentation() {
        let page = include_str!("../../../../docs/kubernetes.md");
        for (pods, what) in [(1, "one pod"), (110, "110 pods")] {
            let row = format!("| Events for {what}, at most | {} |", of_an_hour(pods));
            assert!(page.contains(&row), "docs/kubernetes.md has no {row}");
        }
    }

    #[test]
    fn pods_that_come_and_go_take_no_memory() {
        let mut limiter = Limiter::new(0);
        for n in 0..100_000_u64 {
            limiter.allows(n, n * SECOND);
        }
        assert!(limiter.each.len() <= MAX);
    }
}
