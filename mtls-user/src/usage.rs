//! A command line that cannot be meant so: the exit code says so.

/// What is wrong with it, and what is right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The error that it is wrong.
pub(crate) fn wrong<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Usage(text.into()).into())
}
