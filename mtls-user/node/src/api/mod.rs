//! Access control for queries from outside the node, and what each caller may see.
//!
//! The Kubernetes API decides: a TokenReview returns the owner of a token, a SubjectAccessReview
//! whether the owner may `get` resources of the group `mtls.internal`. Without it, access is
//! denied.

mod access;
mod view;

pub use access::{Access, Refused, Resource, Scope};
pub use view::{edge, edges, flow, watched};

/// The required audience of tokens: one for anything else, in particular for the API server itself,
/// is rejected, so that a token sent here by mistake gives no access.
pub const AUDIENCE: &str = "mtls";
/// The API group of the resources. No such resources exist: they are only names for RBAC rules.
pub const GROUP: &str = "mtls.internal";
