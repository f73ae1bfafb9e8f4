//! Who may ask a daemon from outside its node, and what they are shown.
//!
//! The Kubernetes API decides: a TokenReview says whose token it is, a SubjectAccessReview what its
//! owner may `get` of the group `mtls.internal`. Nothing is decided without it.

mod access;
mod view;

pub use access::{Access, Refused, Resource, Scope};
pub use view::{edge, edges, flow, watched};

/// The audience that a token has to be for: one for anything else, the API server itself above all,
/// is not taken, so that it is worth nothing to send it here by mistake.
pub const AUDIENCE: &str = "mtls";
/// The API group of what may be got. No such resources exist: they are names to grant by.
pub const GROUP: &str = "mtls.internal";
