//! The queue of records for an output.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Notice;
use crate::metrics::Outlet;

/// A bounded queue. Records stay in it until they have arrived; when it is full, the oldest are
/// dropped.
#[derive(Debug)]
pub struct Queue {
    name: &'static str,
    limit: usize,
    waiting: Mutex<Waiting>,
    news: Notify,
    sent: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Arc<Notice>>,
    /// How many were ever removed from the front.
    passed: u64,
}

impl Queue {
    /// A queue for at most `limit` records.
    pub fn new(name: &'static str, limit: usize) -> Self {
        Self {
            name,
            limit: limit.max(1),
            waiting: Mutex::default(),
            news: Notify::new(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record.
    pub fn push(&self, notice: Arc<Notice>) {
        let mut waiting = self.lock();
        if waiting.notices.len() >= self.limit {
            waiting.notices.pop_front();
            waiting.passed += 1;
            self.missed(1);
        }
        waiting.notices.push_back(notice);
        drop(waiting);
        self.news.notify_one();
    }

    /// This many were lost before they could be queued.
    pub fn missed(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// Waits for some records, which stay in the queue. Returns them with the number that
    /// [`Queue::arrived`] needs.
    pub(super) async fn some(&self, most: usize) -> (Vec<Arc<Notice>>, u64) {
        loop {
            {
                let waiting = self.lock();
                if !waiting.notices.is_empty() {
                    let some = waiting.notices.iter().take(most).cloned();
                    return (some.collect(), waiting.passed);
                }
            }
            self.news.notified().await;
        }
    }

    /// The `n` records that were taken when `passed` had been removed have arrived.
    pub(super) fn arrived(&self, n: usize, passed: u64) {
        self.skip(n, passed);
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// They must not be sent again.
    pub(super) fn skip(&self, n: usize, passed: u64) {
        let mut waiting = self.lock();
        let end = passed + n as u64;
        while waiting.passed < end && waiting.notices.pop_front().is_some() {
            waiting.passed += 1;
        }
    }

    /// Its state.
    pub fn outlet(&self) -> Outlet {
        Outlet {
            name: self.name,
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            queued: self.lock().notices.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::FlowRecord;

    #[tokio::test]
    async fn what_was_taken_is_there_until_it_has_arrived() {
        let queue = Queue::new("test", 4);
        let notice = || Arc::new(Notice::of_flow("mtls.edge.new", &FlowRecord::default()));
        for _ in 0..3 {
            queue.push(notice());
        }
        let (some, passed) = queue.some(2).await;
        assert_eq!((some.len(), queue.outlet().queued), (2, 3));
        // It did not arrive: the same ones are taken again.
        let (again, passed_again) = queue.some(2).await;
        assert_eq!((again.len(), passed_again), (2, passed));
        // Meanwhile four more are added, and three are dropped unsent: two of them are in
        // transmission.
        for _ in 0..4 {
            queue.push(notice());
        }
        assert_eq!((queue.outlet().queued, queue.outlet().dropped), (4, 3));
        queue.arrived(2, passed);
        assert_eq!((queue.outlet().queued, queue.outlet().sent), (4, 2));
    }
}
