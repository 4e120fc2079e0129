//! Diffie-Hellman over the hosts' group of 107 bits.

use alloc::vec::Vec;
use core::fmt;
use core::hint::black_box;
use core::ops::Deref;

use num_bigint::BigUint;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// How many random bytes a private key needs at least.
pub const ENTROPY_MIN: usize = 16;

/// How many random bytes a private key takes at most. More would only make the exponentiation longer.
pub const ENTROPY_MAX: usize = 64;

/// The prime p = 2^107 - 1 that all hosts use.
const PRIME: u128 = (1 << 107) - 1;

/// The generator: a primitive root modulo p.
const GENERATOR: u32 = 5;

/// The most digits that are parsed: p has 33, and a few leading zeros hurt nobody.
const DIGITS_MAX: usize = 40;

/// The guest's half of one exchange. It serves for a single one: [`agree`](Self::agree) takes it.
pub struct PrivateKey {
    exponent: Secret,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a key from fresh random bytes, [`ENTROPY_MIN`] to [`ENTROPY_MAX`] of them.
    ///
    /// # Errors
    /// [`InvalidEntropy`] if there are too few or too many bytes, or if they give a public key that a host must refuse,
    /// which true randomness does not in the lifetime of anything.
    pub fn from_entropy(entropy: Secret) -> Result<Self, InvalidEntropy> {
        if !(ENTROPY_MIN..=ENTROPY_MAX).contains(&entropy.len()) {
            return Err(InvalidEntropy);
        }
        let public = power(&BigUint::from(GENERATOR), &entropy);
        let public =
            PublicKey::checked(public.clone()).map_err(|InvalidPublicKey| InvalidEntropy)?;
        Ok(Self {
            exponent: entropy,
            public,
        })
    }

    /// The key to send to the host. `Display` writes it as a decimal number, the form that hosts expect.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// What the two sides share: the host's key to the power of this one, as decimal ASCII.
    #[must_use]
    pub fn agree(self, host: &PublicKey) -> SharedSecret {
        let shared = power(&host.0, &self.exponent);
        let mut digits = Zeroizing::new(shared.to_radix_be(10));
        for digit in digits.iter_mut() {
            *digit = digit.saturating_add(b'0');
        }
        SharedSecret(Secret::from(digits))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A public key of either side: a number between 2 and p - 2.
///
/// The numbers left out are those that make the shared secret a constant: 0, 1 and p - 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey(BigUint);

impl PublicKey {
    fn checked(number: BigUint) -> Result<Self, InvalidPublicKey> {
        const LAST: u128 = PRIME - 2;

        if number < BigUint::from(2_u8) || number > BigUint::from(LAST) {
            return Err(InvalidPublicKey);
        }
        Ok(Self(number))
    }
}

impl TryFrom<&str> for PublicKey {
    type Error = InvalidPublicKey;

    /// Parses a decimal number; blanks around it are ignored.
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let digits = text.trim().as_bytes();
        if digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
            return Err(InvalidPublicKey);
        }
        // `None` stands for a text without any digit.
        let number = BigUint::parse_bytes(digits, 10).ok_or(InvalidPublicKey)?;
        Self::checked(number)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What both sides of an exchange know: a number as decimal ASCII without leading zeros, the cipher's pass phrase.
#[derive(Debug)]
pub struct SharedSecret(Secret);

impl SharedSecret {
    /// A secret as if it had been agreed on.
    #[cfg(test)]
    pub(in crate::crypto) fn known(digits: &str) -> Self {
        Self(Secret::new(digits.as_bytes().to_vec()))
    }

    /// The digits. They are as secret as the password that they will encrypt.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// The random bytes make no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("random bytes that make no key")]
pub struct InvalidEntropy;

/// The text is not a number from 2 to p - 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid public key")]
pub struct InvalidPublicKey;

/// `base` to the power of a secret exponent, modulo p.
fn power(base: &BigUint, exponent: &Secret) -> Number {
    let exponent = Number(BigUint::from_bytes_be(exponent.expose()));
    Number(base.modpow(&exponent, &BigUint::from(PRIME)))
}

/// A big integer that is overwritten when dropped.
///
/// The intermediate values of an exponentiation belong to num-bigint, which frees them as they are: what is left of them
/// in the heap cannot be reached from here.
struct Number(BigUint);

impl Deref for Number {
    type Target = BigUint;

    fn deref(&self) -> &BigUint {
        &self.0
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // The new digits go into the same allocation, because there are no more of them than before.
        let ones: Vec<u32> = self.0.iter_u32_digits().map(|_| u32::MAX).collect();
        self.0.assign_from_slice(&ones);
        // Keeps the compiler from dropping writes that nothing reads.
        black_box(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::crypto::vectors::{EXCHANGES, private_key};

    #[test]
    fn both_sides_of_every_known_exchange_agree() {
        for known in &EXCHANGES {
            let (host, guest) = (
                private_key(known.host_private),
                private_key(known.guest_private),
            );
            assert_eq!(host.public_key().to_string(), known.host_public);
            assert_eq!(guest.public_key().to_string(), known.guest_public);

            let host_public = PublicKey::try_from(known.host_public).unwrap();
            let guest_public = PublicKey::try_from(known.guest_public).unwrap();
            assert_eq!(guest.agree(&host_public).expose(), known.shared.as_bytes());
            assert_eq!(host.agree(&guest_public).expose(), known.shared.as_bytes());
        }
    }

    #[test]
    fn the_prime_is_the_one_that_hosts_use() {
        assert_eq!(PRIME.to_string(), "162259276829213363391578010288127");
    }

    #[test]
    fn blanks_and_leading_zeros_around_a_public_key_are_ignored() {
        let plain = PublicKey::try_from("118651915984640172265778366366426").unwrap();
        for text in [
            " 118651915984640172265778366366426\n",
            "\t0000000118651915984640172265778366366426 ",
        ] {
            assert_eq!(PublicKey::try_from(text), Ok(plain.clone()), "{text:?}");
        }
    }

    #[test]
    fn the_smallest_and_the_largest_public_keys_are_accepted() {
        assert!(PublicKey::try_from("2").is_ok());
        assert!(PublicKey::try_from("162259276829213363391578010288125").is_ok());
    }

    #[test]
    fn degenerate_public_keys_are_refused() {
        let p_and_its_neighbours = [
            "162259276829213363391578010288126",
            "162259276829213363391578010288127",
            "162259276829213363391578010288128",
        ];
        for text in ["0", "00", "1", "-1", "-118651915984640172265778366366426"]
            .iter()
            .chain(&p_and_its_neighbours)
        {
            assert_eq!(
                PublicKey::try_from(*text),
                Err(InvalidPublicKey),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused_as_a_public_key() {
        let long = "0".repeat(DIGITS_MAX + 1);
        for text in [
            "",
            " ",
            "null",
            "1.5",
            "1e3",
            "+5",
            "0x10",
            "1_000",
            "12 34",
            "\u{663}\u{664}",
            long.as_str(),
        ] {
            assert_eq!(PublicKey::try_from(text), Err(InvalidPublicKey), "{text:?}");
        }
    }

    #[test]
    fn too_little_too_much_or_degenerate_entropy_makes_no_key() {
        for len in [0, ENTROPY_MIN - 1, ENTROPY_MAX + 1] {
            assert_eq!(
                PrivateKey::from_entropy(Secret::new(vec![7; len])).unwrap_err(),
                InvalidEntropy
            );
        }
        // 5^0 = 1.
        assert_eq!(
            PrivateKey::from_entropy(Secret::new(vec![0; 32])).unwrap_err(),
            InvalidEntropy
        );
        assert!(PrivateKey::from_entropy(Secret::new(vec![0xff; ENTROPY_MAX])).is_ok());
    }

    #[test]
    fn debug_prints_nothing_of_a_secret() {
        let key = private_key(EXCHANGES[0].guest_private);
        let host = PublicKey::try_from(EXCHANGES[0].host_public).unwrap();
        assert_eq!(format!("{key:?}"), "[redacted]");
        assert_eq!(
            format!("{:?}", key.agree(&host)),
            "SharedSecret([redacted])"
        );
    }
}
