//! The daemon's metrics for Prometheus: connections per pair of workloads, and the daemon's own
//! state. `docs/metrics.md` is generated from [`CATALOG`].
//!
//! [`Meter`] counts on the engine's thread, with bounded memory and without waiting, so that no
//! connection is missed however slow a scrape is. [`Snapshot`] contains its counts; [`encode`]
//! renders a page from them elsewhere.

mod catalog;
mod certificates;
mod encode;
mod labels;
mod meter;
mod out;
mod process;
mod rows;
mod series;

#[cfg(test)]
mod tests;

pub use catalog::{CATALOG, Kind, Metric};
pub use encode::{Format, Outlet, encode, points};
pub use meter::{Meter, Snapshot};
pub use out::Points;
pub use process::stats;
