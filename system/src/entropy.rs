//! Random bytes of the system.

use core::time::Duration;
use std::time::Instant;

use nova_agent_core::effect::{Failure, Outcome};
use nova_agent_core::secret::Secret;
use zeroize::Zeroizing;

use crate::pending::{Pending, PendingEffect, Started};
use crate::retry::RetrySchedule;
use crate::root::Root;

/// The most bytes that are asked for at once; key exchanges take some dozens.
pub(crate) const LEN_MAX: usize = 4096;

/// How long a kernel that has just started may take; the core waits 30 s.
const RETRY_LIMIT: Duration = Duration::from_secs(25);

/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Starts to get random bytes.
pub(crate) fn start(root: &Root, len: usize) -> Started {
    if len > LEN_MAX {
        let refusal = format!("more than {LEN_MAX} random bytes at once");
        return Started::Finished(Outcome::Failed(Failure::Refused(refusal)));
    }
    let retry = RetrySchedule::new(RETRY_LIMIT, RETRY_PAUSE);
    Box::new(PendingEntropy { len, retry }).advance(root, Instant::now())
}

/// Random bytes that the kernel does not have yet: right after its start, kernels before 5.6 gather them for a while.
#[derive(Debug)]
struct PendingEntropy {
    len: usize,
    retry: RetrySchedule,
}

impl Pending for PendingEntropy {
    fn deadline(&self) -> Instant {
        self.retry.next()
    }

    fn advance(mut self: Box<Self>, _: &Root, now: Instant) -> Started {
        if !is_gathered() && !self.retry.is_expired(now) {
            self.retry.postpone(now);
            return Started::Running(PendingEffect::new(self));
        }
        let mut bytes = Zeroizing::new(vec![0; self.len]);
        Started::Finished(match getrandom::fill(&mut bytes) {
            Ok(()) => Outcome::Entropy(Secret::from(bytes)),
            Err(error) => Outcome::Failed(Failure::Io(format!("get random bytes: {error}"))),
        })
    }
}

/// Whether the kernel can give random bytes at once. Where it cannot be asked, it is believed.
#[cfg(target_os = "linux")]
fn is_gathered() -> bool {
    use rustix::rand::{GetRandomFlags, getrandom};

    getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK) != Err(rustix::io::Errno::AGAIN)
}

/// FreeBSD does not wait for them unless it is told to (random(4), `bypass_before_seeding`).
#[cfg(not(target_os = "linux"))]
fn is_gathered() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(len: usize) -> Outcome {
        let sandbox = tempfile::tempdir().unwrap();
        let root = Root::sandbox(sandbox.path()).unwrap();
        match start(&root, len) {
            Started::Finished(outcome) => outcome,
            Started::Running(pending) => panic!("{pending:?} on a machine that runs tests"),
        }
    }

    #[test]
    fn as_many_fresh_bytes_come_as_were_asked_for() {
        let [Outcome::Entropy(one), Outcome::Entropy(two)] = [get(32), get(32)] else {
            panic!("no entropy")
        };
        assert_eq!((one.len(), two.len()), (32, 32));
        assert!(one != two);
        assert!(matches!(get(0), Outcome::Entropy(none) if none.is_empty()));
    }

    #[test]
    fn random_bytes_are_waited_for_less_long_than_the_core_waits() {
        let core_timeout = nova_agent_core::effect::Effect::Entropy { len: 1 }.timeout();
        assert!(RETRY_LIMIT < core_timeout && RETRY_PAUSE < RETRY_LIMIT);
    }

    #[test]
    fn a_length_over_the_bound_is_refused() {
        assert!(matches!(get(LEN_MAX), Outcome::Entropy(bytes) if bytes.len() == LEN_MAX));
        assert!(matches!(
            get(LEN_MAX + 1),
            Outcome::Failed(Failure::Refused(_))
        ));
        assert!(matches!(
            get(usize::MAX),
            Outcome::Failed(Failure::Refused(_))
        ));
    }
}
