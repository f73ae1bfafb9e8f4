//! What a daemon tells Prometheus: connections counted per pair of workloads, and how the daemon
//! itself is. `docs/metrics.md` is made of [`CATALOG`].
//!
//! [`Meter`] counts on the engine's thread, in bounded memory and without waiting for anybody, so no
//! connection is missed however slow a scrape is. [`Snapshot`] is what it has counted; [`encode`]
//! makes a page of that elsewhere.

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
