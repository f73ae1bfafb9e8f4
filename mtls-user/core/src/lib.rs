//! What a flow is, and how that is known: no input or output but capture files, no clock, no
//! runtime, no unsafe code.
//!
//! The rooms, each knowing only those above it: [`escape`] (text that is safe to show), [`record`]
//! (the types of the answer), [`wire`]
//! (parsers), [`mesh`] (what is known of each mesh), [`classify`] (one flow's verdict), [`flow`]
//! (connections), [`capture`] (files).

#![forbid(unsafe_code)]

pub mod escape;

pub mod record;

pub mod wire;

pub mod mesh;

pub mod classify;

pub mod flow;

pub mod capture;
