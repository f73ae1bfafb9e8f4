//! One flow's verdict: a pure function of the bytes seen, in any order and with holes.
//!
//! No I/O, no clock of its own: time comes with the pieces. [`Classifier`] is the state of one
//! flow; [`Sessions`] is what flows of one table know of each other (for resumptions).

mod api;

pub use api::{Classifier, Context, Finding, Piece, Progress, Sessions, Side};
