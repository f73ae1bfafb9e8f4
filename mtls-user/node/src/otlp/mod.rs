//! What a daemon tells OpenTelemetry: a record at each new edge, change, downgrade and mismatch, a
//! summary of each edge in every interval, and its metrics (`docs/otlp.md`).
//!
//! Everything waits in a bounded queue of its own ([`Queue`]) and nothing waits for it: a Collector
//! that is away or hangs costs the queue, and what no longer fits in is counted.

mod changes;
mod metrics;
mod notice;
mod queue;
mod send;

pub use changes::Changes;
pub use metrics::request as metrics_request;
pub use notice::{Notice, Resource, summary};
pub use queue::Queue;
pub use send::{Protocol, Sender, export, write_lines};
