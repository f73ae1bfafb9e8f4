//! Benchmarks of the whole program against real input, each in one run on one machine.

pub mod capture;
mod cgroup;
pub mod classify;
mod datagrams;
pub mod engine;
pub mod flood;
pub mod load;
pub mod node;
mod report;
mod scraper;
pub mod soak;
pub mod top;
mod usage;
