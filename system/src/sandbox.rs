//! Words shared by the records of what a sandbox did not do.

/// Stands for every secret.
pub(crate) const REDACTED: &str = "[redacted]";
