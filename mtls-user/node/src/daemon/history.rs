//! The individual connections of the window, for `mtls flows`: as many as there is room for. Open
//! ones are preferred to ended ones, and recent ones to older ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mtls_core::record::{Event, FlowRecord, History as Reach, Time};

use super::lost::Lost;

/// All remembered connections, the latest last, and how far back they reach.
pub(super) type Remembered = (Vec<Arc<FlowRecord>>, Reach);

/// The remembered connections. Times are the daemon's.
pub(super) struct History {
    capacity: usize,
    window: u64,
    /// By the order of their latest events.
    open: BTreeMap<u64, Arc<FlowRecord>>,
    ended: BTreeMap<u64, Arc<FlowRecord>>,
    /// The position of a connection in `open`.
    places: HashMap<u64, u64>,
    next: u64,
    /// What was dropped for lack of space.
    forgotten: Lost,
    /// The end of the latest of those.
    since: u64,
}

impl History {
    pub(super) fn new(capacity: usize, window: Duration) -> Self {
        Self {
            capacity,
            window: window.as_nanos() as u64,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            places: HashMap::new(),
            next: 0,
            forgotten: Lost::new(window),
            since: 0,
        }
    }

    /// Records what is now known about a connection.
    pub(super) fn note(&mut self, flow: Arc<FlowRecord>, now: u64) {
        let Some(number) = flow.connection.filter(|_| self.capacity > 0) else {
            return;
        };
        if let Some(place) = self.places.remove(&number) {
            self.open.remove(&place);
        }
        self.next += 1;
        if flow.event == Some(Event::Closed.into()) {
            self.ended.insert(self.next, flow);
        } else {
            self.places.insert(number, self.next);
            self.open.insert(self.next, flow);
        }
        if self.open.len() + self.ended.len() > self.capacity {
            self.forget(now);
        }
    }

    /// Drops the oldest ended connection, or the oldest open one if none has ended.
    fn forget(&mut self, now: u64) {
        let gone = self.ended.pop_first().or_else(|| self.open.pop_first());
        let Some((_, flow)) = gone else { return };
        if let Some(number) = flow.connection {
            self.places.remove(&number);
        }
        self.forgotten.add(now, 1);
        self.since = self.since.max(flow.last_seen.as_nanos());
    }

    /// Drops connections that have left the window.
    pub(super) fn expire(&mut self, now: u64) {
        let oldest = now.saturating_sub(self.window);
        while let Some(first) = self.ended.first_entry() {
            if first.get().last_seen.as_nanos() >= oldest {
                break;
            }
            first.remove();
        }
    }

    /// All of them.
    pub(super) fn remembered(&mut self, now: u64) -> Remembered {
        self.expire(now);
        let all = self.ended.values().chain(self.open.values()).cloned();
        let reach = Reach {
            capacity: self.capacity as u64,
            forgotten: self.forgotten.within(now),
            since: (self.capacity > 0).then(|| {
                let window = now.saturating_sub(self.window);
                Time::from_nanos(self.since.max(window))
            }),
        };
        (all.collect(), reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn flow(number: u64, event: Event, second: u64) -> Arc<FlowRecord> {
        Arc::new(FlowRecord {
            connection: Some(number),
            event: Some(event.into()),
            last_seen: Time::from_nanos(second * S),
            ..FlowRecord::default()
        })
    }

    fn numbers(history: &mut History, now: u64) -> Vec<u64> {
        let (flows, _) = history.remembered(now * S);
        flows.iter().filter_map(|flow| flow.connection).collect()
    }

    #[test]
    fn a_connection_is_there_once_with_its_latest() {
        let mut history = History::new(10, Duration::from_mins(1));
        history.note(flow(1, Event::Classified, 1), S);
        history.note(flow(2, Event::Classified, 2), 2 * S);
        history.note(flow(1, Event::Closed, 3), 3 * S);
        assert_eq!(numbers(&mut history, 3), [1, 2]);
        // Ended connections leave the window; open ones stay.
        assert_eq!(numbers(&mut history, 64), [2]);
        assert_eq!(history.remembered(64 * S).1.forgotten, 0);
    }

    #[test]
    fn the_oldest_that_ended_give_way_and_are_counted() {
        let mut history = History::new(2, Duration::from_mins(1));
        for number in 1..=5 {
            history.note(flow(number, Event::Closed, number), number * S);
        }
        assert_eq!(numbers(&mut history, 5), [4, 5]);
        history.note(flow(6, Event::Classified, 6), 6 * S);
        history.note(flow(7, Event::Classified, 7), 7 * S);
        history.note(flow(8, Event::Classified, 8), 8 * S);
        assert_eq!(numbers(&mut history, 8), [7, 8]);
        let (_, told) = history.remembered(8 * S);
        assert_eq!((told.capacity, told.forgotten), (2, 6));
        assert_eq!(told.since, Some(Time::from_nanos(6 * S)));
        assert_eq!(history.places.len(), 2);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut history = History::new(0, Duration::from_mins(1));
        history.note(flow(1, Event::Closed, 1), S);
        let (flows, told) = history.remembered(S);
        assert!(flows.is_empty());
        assert_eq!(told.since, None);
    }
}
