//! One node: the kernel programs that sample its pods' flows, the names of those pods, the edges
//! between them, and the daemon that runs all of it and answers queries.
//!
//! The modules, each depending only on those before it: [`clock`], [`yaml`], [`netlink`], [`kernel`],
//! [`pods`], [`edges`], [`metrics`], [`otlp`], [`evidence`], [`api`], [`daemon`].

pub mod clock;

pub mod yaml;

pub mod netlink;

pub mod kernel;

pub mod pods;

pub mod edges;

pub mod metrics;

pub mod api;

pub mod otlp;

pub mod evidence;

pub mod daemon;
