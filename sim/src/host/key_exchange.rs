//! The host's half of a key exchange. It shares no code with the agent's, so that both can be wrong only on their own.

use std::fmt;

use num_bigint::BigUint;

use super::Unreadable;

/// A private key of the host for one exchange.
pub struct HostKey(BigUint);

impl HostKey {
    /// A key of random bytes; Nova takes ten of them.
    #[must_use]
    pub fn from_entropy(entropy: &[u8]) -> Self {
        Self(BigUint::from_bytes_be(entropy))
    }

    /// A key that is the same in every run, for tests that have to know it.
    #[must_use]
    pub fn from_number(number: u128) -> Self {
        Self(number.into())
    }

    /// The public key in decimal.
    #[must_use]
    pub fn public(&self) -> String {
        power(&BigUint::from(5_u8), &self.0).to_string()
    }

    /// Takes the agent's public key as Nova does: any number that Python's `int` accepts.
    ///
    /// # Errors
    /// [`Unreadable::NoNumber`].
    pub fn agree(self, agent: &str) -> Result<KeyExchange, Unreadable> {
        let agent: BigUint = agent.trim().parse().map_err(|_| Unreadable::NoNumber)?;
        Ok(KeyExchange(power(&agent, &self.0).to_string()))
    }
}

/// A key exchange that the agent has answered: a password can be encrypted under its secret.
pub struct KeyExchange(String);

impl KeyExchange {
    /// The shared secret in decimal.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `base` to the power of `exponent` in the group that Nova uses.
fn power(base: &BigUint, exponent: &BigUint) -> BigUint {
    base.modpow(
        exponent,
        &BigUint::from(162_259_276_829_213_363_391_578_010_288_127_u128),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_no_number_is_not_readable() {
        for answer in ["", "D0", "1.5", "None"] {
            assert_eq!(
                HostKey::from_number(7).agree(answer).unwrap_err(),
                Unreadable::NoNumber,
                "{answer}"
            );
        }
    }
}
