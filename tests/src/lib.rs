//! Shared parts of the end-to-end tests and of the demo: a node and its pods made of network
//! namespaces, with real TLS peers and the real daemon.
//!
//! Everything that a test creates is in its own thread's namespaces, so tests can run in parallel,
//! and nothing is left behind, even if one is killed.

pub mod apiserver;
pub mod bench;
pub mod bin;
pub mod browser;
pub mod capture;
pub mod census;
pub mod cluster;
pub mod collector;
pub mod corpus;
pub mod cri;
pub mod daemon;
pub mod docs;
pub mod flood;
pub mod http;
pub mod netns;
pub mod nodes;
pub mod peer;
pub mod pki;
pub mod process;
pub mod prometheus;
pub mod scene;
pub mod servers;
pub mod skip;
