//! AES-128-CBC with the key derivation of the `openssl` command line.

use aes::Aes128;
use cbc::Decryptor;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::FixedOutputReset;
use zeroize::{Zeroize, Zeroizing};

use super::SharedSecret;
use crate::secret::Secret;

/// The length of a block, of the key and of the initialization vector.
pub(in crate::crypto) const BLOCK_LEN: usize = 16;

/// The digests a host may derive the key with, in the order in which they are tried.
///
/// Nothing in the message tells: it is the default of the `openssl` program on the host, MD5 up to 1.0.2 and SHA-256 from
/// 1.1.0 on. SHA-1 has to be asked for by name.
pub(crate) const DIGESTS: [Digest; 3] = [Digest::Md5, Digest::Sha256, Digest::Sha1];

/// A digest of the key derivation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Digest {
    Md5,
    Sha1,
    Sha256,
}

impl Digest {
    /// Fills the key material in place: a value that is returned leaves copies on the stack.
    pub(in crate::crypto) fn derive(self, secret: &SharedSecret, material: &mut KeyMaterial) {
        match self {
            Self::Md5 => derive::<Md5>(secret, material),
            Self::Sha1 => derive::<Sha1>(secret, material),
            Self::Sha256 => derive::<Sha256>(secret, material),
        }
    }
}

/// The key and the initialization vector, wiped when dropped.
#[derive(Default)]
pub(in crate::crypto) struct KeyMaterial(pub(in crate::crypto) [[u8; BLOCK_LEN]; 2]);

impl Drop for KeyMaterial {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A plaintext that may be the right one: there is no authentication code to tell for sure.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Candidate {
    /// It ended with a newline, as hosts send it; the newline is gone.
    Line(Secret),
    /// It did not. Of the wrong keys that get as far as this, one in a hundred passes for a line.
    Unterminated(Secret),
}

/// Decrypts a password, and tells a wrong key from the right one as far as that is possible.
///
/// `None` if the ciphertext is empty or no multiple of a block, if the padding is wrong, or if the plaintext is not UTF-8
/// without control characters, horizontal tabs and one final newline excepted. Padding alone would accept one wrong key
/// in 255; all tests together accept about one in 10^11 when the newline is there.
pub(crate) fn decrypt(
    ciphertext: &[u8],
    secret: &SharedSecret,
    digest: Digest,
) -> Option<Candidate> {
    let (_, []) = ciphertext.as_chunks::<BLOCK_LEN>() else {
        return None;
    };
    let mut material = KeyMaterial::default();
    digest.derive(secret, &mut material);
    let [key, vector] = &material.0;
    let mut cipher = Decryptor::<Aes128>::new(key.into(), vector.into());

    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    let (blocks, _) = plaintext.as_chunks_mut::<BLOCK_LEN>();
    for block in blocks {
        cipher.decrypt_block(block.into());
    }

    let len = unpadded_len(&plaintext)?;
    plaintext.truncate(len);
    let terminated = plaintext.pop_if(|last| *last == b'\n').is_some();
    let text = core::str::from_utf8(&plaintext).ok()?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let password = Secret::from(plaintext);
    Some(if terminated {
        Candidate::Line(password)
    } else {
        Candidate::Unterminated(password)
    })
}

/// The length without the PKCS#7 padding: n bytes of value n, n from 1 to 16. `None` if the last block ends otherwise.
fn unpadded_len(padded: &[u8]) -> Option<usize> {
    let last_block = padded.last_chunk::<BLOCK_LEN>()?;
    let [.., count] = *last_block;
    // All bytes are looked at whatever they hold, so that the time taken does not tell how many were right.
    let wrong = last_block
        .iter()
        .rev()
        .zip(1_u8..)
        .fold(0, |wrong, (byte, position)| {
            let in_padding = u8::from(position <= count);
            wrong | (in_padding.wrapping_neg() & (byte ^ count))
        });
    let count = usize::from(count);
    let valid = wrong == 0 && (1..=BLOCK_LEN).contains(&count);
    if valid {
        padded.len().checked_sub(count)
    } else {
        None
    }
}

/// OpenSSL's `EVP_BytesToKey` without salt and with one iteration (its manual page has the formula).
///
/// D1 = H(S), D2 = H(D1 + S), ...: the key and then the vector are cut from D1 + D2 + ...
fn derive<H: Default + FixedOutputReset>(secret: &SharedSecret, material: &mut KeyMaterial) {
    let mut hash = H::default();
    for part in material.0.as_flattened_mut().chunks_mut(H::output_size()) {
        hash.update(secret.expose());
        let mut digest = hash.finalize_fixed_reset();
        for (to, from) in part.iter_mut().zip(&digest) {
            *to = *from;
        }
        hash.update(&digest);
        digest.as_mut_slice().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;
    use crate::base64;
    use crate::crypto::vectors::{CIPHERTEXTS, encrypt, hex, shared_secret};

    #[test]
    fn key_and_vector_are_those_of_the_openssl_program() {
        for known in &CIPHERTEXTS {
            let mut material = KeyMaterial::default();
            known
                .digest
                .derive(&shared_secret(known.exchange), &mut material);
            assert_eq!(
                material.0.as_flattened(),
                hex(known.key_and_vector),
                "{known:?}"
            );
        }
    }

    #[test]
    fn a_public_key_of_one_would_give_the_key_that_everybody_knows() {
        let mut material = KeyMaterial::default();
        derive::<Md5>(&SharedSecret::known("1"), &mut material);
        assert_eq!(
            material.0.as_flattened(),
            hex("c4ca4238a0b923820dcc509a6f75849b7976c7161415c830816dd4068a1d9a52")
        );
    }

    #[test]
    fn what_the_openssl_program_encrypted_is_decrypted() {
        for known in &CIPHERTEXTS {
            let ciphertext = base64::decode(known.base64).unwrap();
            let candidate = decrypt(
                ciphertext.expose(),
                &shared_secret(known.exchange),
                known.digest,
            )
            .unwrap();
            let expected = match known.plaintext.strip_suffix('\n') {
                Some(line) => Candidate::Line(Secret::from(String::from(line))),
                None => Candidate::Unterminated(Secret::from(String::from(known.plaintext))),
            };
            assert_eq!(candidate, expected, "{known:?}");
        }
    }

    #[test]
    fn a_wrong_digest_or_a_wrong_secret_is_noticed() {
        for known in &CIPHERTEXTS {
            let ciphertext = base64::decode(known.base64).unwrap();
            for digest in DIGESTS {
                for exchange in 0..5 {
                    if (digest, exchange) != (known.digest, known.exchange) {
                        assert_eq!(
                            decrypt(ciphertext.expose(), &shared_secret(exchange), digest),
                            None,
                            "{known:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_ciphertext_that_is_no_multiple_of_a_block_is_refused() {
        let whole = base64::decode(CIPHERTEXTS[7].base64).unwrap();
        for len in (0..whole.len()).filter(|len| *len != BLOCK_LEN) {
            assert_eq!(
                decrypt(&whole.expose()[..len], &shared_secret(3), Digest::Md5),
                None,
                "{len}"
            );
        }
        // The first block alone has no padding.
        assert_eq!(
            decrypt(&whole.expose()[..BLOCK_LEN], &shared_secret(3), Digest::Md5),
            None
        );
    }

    #[test]
    fn every_right_padding_is_accepted_and_every_changed_byte_of_it_refused() {
        for count in 1..=16_u8 {
            let mut padded = [b'x'; 32];
            padded[32 - usize::from(count)..].fill(count);
            assert_eq!(unpadded_len(&padded), Some(32 - usize::from(count)));
            for changed in 32 - usize::from(count)..31 {
                let mut padded = padded;
                padded[changed] ^= 1;
                assert_eq!(unpadded_len(&padded), None, "{count} {changed}");
            }
        }
        for last in (0..=0).chain(17..=255) {
            assert_eq!(unpadded_len(&[last; 16]), None, "{last}");
        }
        assert_eq!(unpadded_len(&[]), None);
        assert_eq!(unpadded_len(&[1; 15]), None);
    }

    #[test]
    fn a_plaintext_of_padding_only_is_an_unterminated_empty_password() {
        assert_eq!(
            roundtrip(b""),
            Some(Candidate::Unterminated(Secret::new(Vec::new())))
        );
    }

    #[test]
    fn exactly_one_newline_is_removed_and_no_second_one_tolerated() {
        assert_eq!(
            roundtrip(b"a\tb \n"),
            Some(Candidate::Line(Secret::new(b"a\tb ".to_vec())))
        );
        for refused in [
            "a\n\n", "\n\n", "a\r\n", "a\nb\n", "a\rb", "a\0b\n", "\u{7f}\n", "\u{85}\n",
            "\u{1b}[m",
        ] {
            assert_eq!(roundtrip(refused.as_bytes()), None, "{refused:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        assert_eq!(roundtrip(b"caf\xe9\n"), None);
    }

    fn roundtrip(plaintext: &[u8]) -> Option<Candidate> {
        let secret = shared_secret(0);
        decrypt(
            &encrypt(plaintext, &secret, Digest::Sha256),
            &secret,
            Digest::Sha256,
        )
    }
}
