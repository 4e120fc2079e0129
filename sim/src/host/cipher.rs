//! What the `openssl` program does for a host, without starting it thousands of times.

use aes::Aes128;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::Encryptor;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use md5::{Digest, Md5};
use sha2::Sha256;

/// A password and one newline under a shared secret, in base64.
#[must_use]
#[expect(clippy::expect_used, reason = "the lengths are constants")]
pub fn encrypt(password: &str, secret: &str, modern: bool) -> String {
    // EVP_BytesToKey without salt and with one iteration: H(S), H(H(S) + S).
    let material = if modern {
        Sha256::digest(secret).to_vec()
    } else {
        let first = Md5::digest(secret);
        let second = Md5::new()
            .chain_update(first)
            .chain_update(secret)
            .finalize();
        [first, second].concat()
    };
    let (key, vector) = material.split_at(16);
    let mut cipher = Encryptor::<Aes128>::new_from_slices(key, vector).expect("16 bytes each");
    let mut blocks = format!("{password}\n").into_bytes();
    let padding = 16 - blocks.len() % 16;
    blocks.extend(std::iter::repeat_n(
        u8::try_from(padding).unwrap_or_default(),
        padding,
    ));
    for block in blocks.as_chunks_mut::<16>().0 {
        cipher.encrypt_block(block.into());
    }
    STANDARD.encode(blocks)
}
