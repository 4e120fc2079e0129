//! Random bytes of the system.

use nova_agent_core::effect::{Failure, Outcome};
use nova_agent_core::secret::Secret;
use zeroize::Zeroizing;

/// The most bytes that are asked for at once; key exchanges take some dozens.
pub(crate) const LEN_MAX: usize = 4096;

pub(crate) fn get(len: usize) -> Outcome {
    if len > LEN_MAX {
        return Outcome::Failed(Failure::Refused(format!("more than {LEN_MAX} random bytes at once")));
    }
    let mut bytes = Zeroizing::new(vec![0; len]);
    match getrandom::fill(&mut bytes) {
        Ok(()) => Outcome::Entropy(Secret::from(bytes)),
        Err(error) => Outcome::Failed(Failure::Io(format!("get random bytes: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_fresh_bytes_come_as_were_asked_for() {
        let [Outcome::Entropy(one), Outcome::Entropy(two)] = [get(32), get(32)] else { panic!("no entropy") };
        assert_eq!((one.len(), two.len()), (32, 32));
        assert!(one != two);
        assert!(matches!(get(0), Outcome::Entropy(none) if none.is_empty()));
    }

    #[test]
    fn a_length_over_the_bound_is_refused() {
        assert!(matches!(get(LEN_MAX + 1), Outcome::Failed(Failure::Refused(_))));
        assert!(matches!(get(usize::MAX), Outcome::Failed(Failure::Refused(_))));
    }
}
