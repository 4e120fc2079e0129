//! How much something matters that the log is told.

/// How much a report matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Of interest when something is being looked for.
    Debug,
    /// The ordinary course of things.
    Info,
    /// Something is wrong, but the agent goes on.
    Warning,
}
