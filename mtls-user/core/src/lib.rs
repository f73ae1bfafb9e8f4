//! What a flow is, and the evidence for it. No I/O except capture files, no clock, no runtime, no
//! unsafe code.
//!
//! Classify these bytes:
//!
//! ```
//! use mtls_core::classify::{Classifier, Context, Piece, Sessions, Side};
//! use mtls_core::record::{Origin, Verdict};
//! use mtls_core::wire::Endpoint;
//!
//! let bytes = b"GET /orders HTTP/1.1\r\nHost: shop\r\n\r\n";
//! let mut sessions = Sessions::default();
//! let mut flow = Classifier::new(Origin::Syn);
//! let request = Piece { offset: 0, len: bytes.len() as u32, bytes, ack: None, time: 0, inside: false };
//! let mut context = Context {
//!     client: Endpoint::new([10, 1, 0, 7].into(), 40_000),
//!     server: Endpoint::new([10, 1, 0, 9].into(), 8080),
//!     sessions: &mut sessions,
//! };
//! flow.segment(Side::Client, request, &mut context);
//! let finding = flow.finding();
//! assert_eq!(finding.verdict, Verdict::Plaintext);
//! assert_eq!(finding.reason, "unencrypted http/1.1");
//! ```
//!
//! Read this capture:
//!
//! ```
//! use mtls_core::capture::{Capture, Decoded, Decoder};
//! use mtls_core::flow::{Event, FlowTable, Limits};
//!
//! # fn main() -> anyhow::Result<()> {
//! # let path = std::path::Path::new("../../tests/data/demo.pcap");
//! let mut decoder = Decoder::default();
//! let mut flows = FlowTable::new(Limits::default());
//! let mut records = Vec::new();
//! let mut keep = |event, view: mtls_core::flow::View<'_>| {
//!     if event == Event::Closed {
//!         records.push(view.record());
//!     }
//! };
//! Capture::open(path)?.read(
//!     |_bytes_so_far| {},
//!     |packet| {
//!         if let Some(Decoded::Segment(segment)) = decoder.decode(packet) {
//!             flows.observe(&segment, &mut keep);
//!         }
//!     },
//! )?;
//! flows.drain(&mut keep);
//! assert!(records.iter().any(|flow| flow.reason == "both sides sent certificates"));
//! # Ok(())
//! # }
//! ```
//!
//! The modules, each depending only on those before it: [`escape`] (text that is safe to display),
//! [`record`] (the types of the output), [`wire`] (parsers), [`mesh`] (what is known of each mesh),
//! [`classify`] (one flow's verdict), [`flow`] (connections), [`capture`] (files).

#![forbid(unsafe_code)]

pub mod escape;

pub mod record;

pub mod wire;

pub mod mesh;

pub mod classify;

pub mod flow;

pub mod capture;
