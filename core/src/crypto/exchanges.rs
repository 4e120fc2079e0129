//! The key exchanges that wait for their password.
//!
//! A host may change two passwords at once, so an exchange is not thrown away when the next one starts; and nothing in a
//! password request says which exchange it belongs to, so all of them are tried.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::compat::{Candidate, DIGESTS, SharedSecret, decrypt};
use crate::base64;
use crate::secret::Secret;
use crate::time::Instant;

/// The most exchanges that are kept; the oldest makes room for a new one.
pub const EXCHANGES_MAX: usize = 8;

/// How long an exchange waits for its password. Hosts send it within seconds.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The open exchanges, newest first. A secret is wiped when it leaves the table, whatever the reason.
#[derive(Debug, Default)]
pub struct Exchanges(VecDeque<Exchange>);

impl Exchanges {
    /// A table without exchanges.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an exchange that was completed at `now`, and drops the oldest if there are too many.
    pub fn insert(&mut self, now: Instant, secret: SharedSecret) {
        self.0.truncate(EXCHANGES_MAX.saturating_sub(1));
        self.0.push_front(Exchange {
            deadline: now.after(EXCHANGE_TIMEOUT),
            secret,
        });
    }

    /// Drops the exchanges whose time is over at `now`.
    pub fn expire(&mut self, now: Instant) {
        self.0.retain(|exchange| exchange.deadline > now);
    }

    /// Drops all exchanges.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Decrypts a password from base64, and closes the exchange whose secret fitted.
    ///
    /// The caller calls [`expire`](Self::expire) first. The password has no line break, NUL or other control character
    /// but the horizontal tab in it; it may be empty.
    ///
    /// # Errors
    /// All leave the table as it was:
    /// - [`PasswordError::Encoding`] if the text is not base64;
    /// - [`PasswordError::NoExchange`] if there is no exchange;
    /// - [`PasswordError::Invalid`] if no secret fits.
    pub fn decrypt(&mut self, text: &str) -> Result<Secret, PasswordError> {
        let ciphertext =
            base64::decode(text).map_err(|base64::InvalidBase64| PasswordError::Encoding)?;
        if self.0.is_empty() {
            return Err(PasswordError::NoExchange);
        }

        let mut unterminated = None;
        for (index, exchange) in self.0.iter().enumerate() {
            for digest in DIGESTS {
                match decrypt(ciphertext.expose(), &exchange.secret, digest) {
                    Some(Candidate::Line(password)) => {
                        self.0.remove(index);
                        return Ok(password);
                    }
                    // It counts only if there is no better one: a wrong key gives one far more often than a line.
                    Some(Candidate::Unterminated(password)) if unterminated.is_none() => {
                        unterminated = Some((index, password));
                    }
                    Some(Candidate::Unterminated(_)) | None => {}
                }
            }
        }
        let (index, password) = unterminated.ok_or(PasswordError::Invalid)?;
        self.0.remove(index);
        Ok(password)
    }

    /// When the next exchange expires; `None` if there is none.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.0.iter().map(|exchange| exchange.deadline).min()
    }

    /// How many exchanges are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no exchange is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why there is no password. The texts are those that hosts have always been given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordError {
    /// The text is not base64.
    #[error("Couldn't decode base64 data")]
    Encoding,
    /// No secret gives an acceptable password.
    #[error("Invalid password data received")]
    Invalid,
    /// No key exchange is open.
    #[error("Password without key exchange")]
    NoExchange,
}

#[derive(Debug)]
struct Exchange {
    deadline: Instant,
    secret: SharedSecret,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::crypto::compat::{BLOCK_LEN, Digest, PublicKey};
    use crate::crypto::vectors::{
        CIPHERTEXTS, EXCHANGES, encrypt, encrypt_unpadded, private_key, shared_secret,
    };

    #[test]
    fn a_password_closes_its_exchange_and_no_other() {
        let mut exchanges = open(0..5);
        for known in [&CIPHERTEXTS[3], &CIPHERTEXTS[0], &CIPHERTEXTS[8]] {
            assert_eq!(
                exchanges.decrypt(known.base64).unwrap().expose(),
                line(known.plaintext)
            );
            assert_eq!(
                exchanges.decrypt(known.base64),
                Err(PasswordError::Invalid),
                "the same password again"
            );
        }
        assert_eq!(exchanges.len(), 2);
    }

    #[test]
    fn every_known_ciphertext_is_decrypted_among_other_exchanges() {
        for known in &CIPHERTEXTS {
            let mut exchanges = open(0..5);
            assert_eq!(
                exchanges.decrypt(known.base64).unwrap().expose(),
                line(known.plaintext),
                "{known:?}"
            );
            assert_eq!(exchanges.len(), 4);
        }
    }

    #[test]
    fn a_whole_exchange_yields_the_password() {
        let known = &EXCHANGES[4];
        let host = PublicKey::try_from(known.host_public).unwrap();
        let mut exchanges = Exchanges::new();
        exchanges.insert(at(0), private_key(known.guest_private).agree(&host));
        let wrapped = CIPHERTEXTS[9]
            .base64
            .as_bytes()
            .chunks(64)
            .map(|line| core::str::from_utf8(line).unwrap());
        let wrapped = wrapped
            .map(|line| format!("{line}\r\n"))
            .collect::<alloc::string::String>();
        assert_eq!(
            exchanges.decrypt(&wrapped).unwrap().expose(),
            line(CIPHERTEXTS[9].plaintext)
        );
        assert!(exchanges.is_empty());
    }

    #[test]
    fn a_password_without_an_exchange_is_told_apart_from_a_wrong_one() {
        let mut exchanges = Exchanges::new();
        assert_eq!(
            exchanges.decrypt(CIPHERTEXTS[0].base64),
            Err(PasswordError::NoExchange)
        );
        assert_eq!(exchanges.decrypt("%"), Err(PasswordError::Encoding));

        let mut exchanges = open(1..5);
        assert_eq!(
            exchanges.decrypt(CIPHERTEXTS[0].base64),
            Err(PasswordError::Invalid)
        );
        assert_eq!(exchanges.decrypt("%"), Err(PasswordError::Encoding));
        assert_eq!(exchanges.decrypt(""), Err(PasswordError::Invalid));
        assert_eq!(exchanges.decrypt("YWJj"), Err(PasswordError::Invalid));
        assert_eq!(exchanges.len(), 4);
    }

    #[test]
    fn no_changed_bit_of_the_padding_is_accepted() {
        let secret = shared_secret(0);
        let mut padded = *b"Tr0ub4dor&3\n\x04\x04\x04\x04";
        for bit in 96..128 {
            padded[bit / 8] ^= 1 << (bit % 8);
            let mut data = padded;
            encrypt_unpadded(&mut data, &secret, Digest::Md5);
            assert_eq!(
                open(0..1).decrypt(&STANDARD.encode(data)),
                Err(PasswordError::Invalid),
                "bit {bit}"
            );
            padded[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_changed_bit_does_not_give_another_password() {
        // A changed bit garbles all of its block.
        let data = STANDARD.decode(CIPHERTEXTS[9].base64).unwrap();
        for bit in (0..BLOCK_LEN * 8).step_by(7) {
            let mut data = data.clone();
            data[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(4..5).decrypt(&STANDARD.encode(data)),
                Err(PasswordError::Invalid),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_plaintext_without_a_newline_is_accepted_when_no_other_fits() {
        let text = STANDARD.encode(encrypt(b"no newline", &shared_secret(2), Digest::Sha1));
        assert_eq!(open(0..5).decrypt(&text).unwrap().expose(), b"no newline");
    }

    #[test]
    fn an_empty_password_is_a_password() {
        assert_eq!(
            open(0..5).decrypt(CIPHERTEXTS[5].base64).unwrap().expose(),
            b""
        );
    }

    #[test]
    fn the_oldest_exchange_makes_room_for_the_ninth() {
        let mut exchanges = Exchanges::new();
        exchanges.insert(at(0), shared_secret(0));
        exchanges.insert(at(1), shared_secret(1));
        for second in 2..9 {
            exchanges.insert(at(second), SharedSecret::known(&second.to_string()));
        }
        assert_eq!(exchanges.len(), EXCHANGES_MAX);
        assert_eq!(
            exchanges.decrypt(CIPHERTEXTS[0].base64),
            Err(PasswordError::Invalid),
            "the oldest is gone"
        );
        assert!(
            exchanges.decrypt(CIPHERTEXTS[3].base64).is_ok(),
            "the second oldest is not"
        );
    }

    #[test]
    fn an_exchange_expires_after_its_time_and_not_before() {
        let mut exchanges = Exchanges::new();
        assert_eq!(exchanges.next_expiry(), None);
        exchanges.insert(at(10), shared_secret(0));
        exchanges.insert(at(20), shared_secret(1));
        assert_eq!(exchanges.next_expiry(), Some(at(310)));

        exchanges.expire(at(309));
        assert_eq!(exchanges.len(), 2);
        exchanges.expire(at(310));
        assert_eq!(exchanges.next_expiry(), Some(at(320)));
        assert_eq!(
            exchanges.decrypt(CIPHERTEXTS[0].base64),
            Err(PasswordError::Invalid)
        );
        exchanges.expire(at(320));
        assert_eq!(exchanges.next_expiry(), None);
        assert_eq!(
            exchanges.decrypt(CIPHERTEXTS[3].base64),
            Err(PasswordError::NoExchange)
        );
    }

    #[test]
    fn debug_prints_nothing_of_a_secret() {
        let printed = format!("{:?}", open(0..1));
        assert!(
            printed.contains("[redacted]") && !printed.contains(EXCHANGES[0].shared),
            "{printed}"
        );
    }

    fn open(known: core::ops::Range<usize>) -> Exchanges {
        let mut exchanges = Exchanges::new();
        for exchange in known {
            exchanges.insert(at(0), shared_secret(exchange));
        }
        exchanges
    }

    fn at(second: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(second))
    }

    fn line(plaintext: &str) -> &[u8] {
        plaintext.strip_suffix('\n').unwrap_or(plaintext).as_bytes()
    }
}
