//! Is the traffic between these pods really mutual TLS?
//!
//! The rooms, each knowing only those above it: [`wire`] (parsers), [`classify`] (one flow's
//! verdict), [`flow`] (the flow table), [`capture`] (files), and with the `node` feature what needs
//! a live kernel and a cluster.

#[forbid(unsafe_code)]
pub mod wire;

pub mod verdict;

#[forbid(unsafe_code)]
pub mod classify;

pub mod edges;

pub mod flow;

pub mod capture;

#[cfg(feature = "node")]
pub mod kernel;

#[cfg(feature = "node")]
pub mod pods;

pub mod cli;
