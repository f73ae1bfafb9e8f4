//! Is the traffic between these pods really mutual TLS?
//!
//! The rooms, each knowing only those above it: [`wire`] (parsers), [`classify`] (one flow's
//! verdict), [`flow`] (connections), [`edges`] (who talks to whom).

#[forbid(unsafe_code)]
pub mod wire;

pub mod verdict;

#[forbid(unsafe_code)]
pub mod classify;

#[forbid(unsafe_code)]
pub mod flow;

pub mod capture;

pub mod edges;

#[cfg(feature = "node")]
pub mod pods;

#[cfg(feature = "node")]
pub mod kernel;

pub mod output;

#[cfg(feature = "node")]
pub mod daemon;

pub mod cli;
