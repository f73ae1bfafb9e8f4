//! One node: the kernel programs that sample its pods' flows, the names of those pods, the edges
//! between them, and the daemon that keeps all of it running and answers questions.
//!
//! The rooms, each knowing only those above it: [`clock`], [`netlink`], [`kernel`], [`pods`],
//! [`edges`], [`metrics`], [`otlp`], [`evidence`], [`api`], [`daemon`].

pub mod clock;

pub mod netlink;

pub mod kernel;

pub mod pods;

pub mod edges;

pub mod metrics;

pub mod api;

pub mod otlp;

pub mod evidence;

pub mod daemon;
