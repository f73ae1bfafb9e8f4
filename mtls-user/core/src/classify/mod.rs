//! One flow's verdict: a pure function of the bytes seen, in any order and with gaps.
//!
//! There is no I/O and no clock: time comes with the pieces. [`Classifier`] is the state of one
//! flow; [`Sessions`] is what the flows of one table know about each other, to recognise
//! resumptions, and what they share.
//!
//! A flow begins with its *opening*: the first bytes of both sides, until they show what it is. For
//! TLS, the records of both sides are then walked (`tls`), and facts are collected; the verdict is
//! a pure function of these facts, so the order in which pieces arrived does not matter. A flow
//! that is done keeps its answer and, per side, the position of the next record: bytes that
//! contradict the answer revise the verdict.

mod api;
mod call;
mod classifier;
mod datagram;
mod exchange;
mod hello;
mod midstream;
mod open;
mod opening;
mod protocols;
mod readable;
mod sessions;
mod settled;
mod stream;
mod tls;
mod watch;

pub use api::{Finding, Piece, Progress, Side};
pub(crate) use classifier::Certainty;
pub use classifier::Classifier;
pub use datagram::{DatagramClassifier, Gram};
pub use exchange::CLAIMED_PROBE;
pub use sessions::{Context, Sessions};
