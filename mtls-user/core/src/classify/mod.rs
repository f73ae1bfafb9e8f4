//! One flow's verdict: a pure function of the bytes seen, in any order and with holes.
//!
//! No I/O, no clock of its own: time comes with the pieces. [`Classifier`] is the state of one
//! flow; [`Sessions`] is what flows of one table know of each other, for the sake of resumptions, and
//! what they share where they are alike.
//!
//! A flow begins in its *opening*: the first bytes of both sides, until they say what it is. TLS
//! then has its records walked on both sides (`tls`), from which facts are gathered; the verdict
//! is a pure function of these facts, so the order in which pieces came does not matter. A flow
//! that is done keeps its answer and, per side, where the next record must begin: bytes that
//! contradict revise the verdict.

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
