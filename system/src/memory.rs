//! What is in the agent's memory stays there.

/// Keeps this process out of core dumps, and its memory from everybody but root with the right to trace.
///
/// Not only while a password is at work: one may come at any time, and an injected file or a key is in memory as well. It
/// ends with an `exec`, so it does not concern the guest's programs.
#[cfg(target_os = "linux")]
pub(crate) fn keep_private() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a crash may write the agent's memory to the disk");
    }
}

/// FreeBSD's counterpart, `PROC_TRACE_CTL`, needs a pointer, and rustix 1.1 hands it the number itself.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_private() {}
