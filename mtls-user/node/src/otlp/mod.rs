//! The daemon's OpenTelemetry output: a record for each new edge, change, downgrade and mismatch, a
//! summary of each edge per interval, and its metrics (`docs/otlp.md`).
//!
//! Everything waits in a bounded queue ([`Queue`]) and nothing waits for it: a Collector that is
//! unavailable or hangs costs only the queue, and what no longer fits is counted.

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
