//! The host's side of a password change, as the `openssl` program does it: nothing of the core's cipher is used.

use aes::Aes128;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use md5::Md5;
use nova_agent_core::crypto::compat::{PrivateKey, PublicKey};
use nova_agent_core::secret::Secret;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

const BLOCK_LEN: usize = 16;

/// The digests that hosts derive keys with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Digest {
    Md5,
    Sha1,
    Sha256,
}

pub(crate) const DIGESTS: [Digest; 3] = [Digest::Md5, Digest::Sha1, Digest::Sha256];

/// A private key from any bytes; the shape of the exchange is the same on both sides.
pub(crate) fn private_key(entropy: &[u8]) -> Option<PrivateKey> {
    let mut bytes = entropy.to_vec();
    // A short exponent is one with zeros in front.
    while bytes.len() < 16 {
        bytes.insert(0, 0);
    }
    PrivateKey::from_entropy(Secret::new(bytes)).ok()
}

/// The pass phrase that both sides know after an exchange.
pub(crate) fn agree(key: PrivateKey, other: &PublicKey) -> Vec<u8> {
    key.agree(other).expose().to_vec()
}

/// The key and the vector: without a salt, in one round.
fn derive(secret: &[u8], digest: Digest) -> ([u8; BLOCK_LEN], [u8; BLOCK_LEN]) {
    let hash = |bytes: &[u8]| match digest {
        Digest::Md5 => Md5::digest(bytes).to_vec(),
        Digest::Sha1 => Sha1::digest(bytes).to_vec(),
        Digest::Sha256 => Sha256::digest(bytes).to_vec(),
    };
    let mut material = hash(secret);
    let mut last = material.clone();
    while material.len() < 2 * BLOCK_LEN {
        last = hash(&[last.as_slice(), secret].concat());
        material.extend(&last);
    }
    (
        material[..BLOCK_LEN].try_into().unwrap(),
        material[BLOCK_LEN..2 * BLOCK_LEN].try_into().unwrap(),
    )
}

/// The ciphertext of bytes that get the padding of PKCS #7.
pub(crate) fn encrypt(plaintext: &[u8], secret: &[u8], digest: Digest) -> Vec<u8> {
    let (key, vector) = derive(secret, digest);
    let count = BLOCK_LEN - plaintext.len() % BLOCK_LEN;
    let mut data = plaintext.to_vec();
    data.resize(plaintext.len() + count, u8::try_from(count).unwrap());
    let mut cipher = cbc::Encryptor::<Aes128>::new((&key).into(), (&vector).into());
    for block in data.as_chunks_mut::<BLOCK_LEN>().0 {
        cipher.encrypt_block(block.into());
    }
    data
}

/// The last byte that a key makes of a ciphertext, which tells whether its padding may be right.
pub(crate) fn last_byte(ciphertext: &[u8], secret: &[u8], digest: Digest) -> Option<u8> {
    let (key, vector) = derive(secret, digest);
    let mut data = ciphertext.to_vec();
    let mut cipher = cbc::Decryptor::<Aes128>::new((&key).into(), (&vector).into());
    for block in data.as_chunks_mut::<BLOCK_LEN>().0 {
        cipher.decrypt_block(block.into());
    }
    data.last().copied()
}

/// Base64 in lines, as the `openssl` program writes it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    lines.collect()
}

/// The longest value that either daemon lets a guest write.
const VALUE_MAX: usize = 2015;

/// A response that Nova's reader bears: one line of printable ASCII without backslashes, an object of two strings.
pub(crate) fn check_response(value: &[u8]) {
    let printed = String::from_utf8_lossy(value);
    assert!(value.len() <= VALUE_MAX, "{} bytes: {printed}", value.len());
    assert!(
        value
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\'),
        "{printed}"
    );
    let parsed: serde_json::Value = serde_json::from_slice(value).expect("JSON");
    let fields = parsed.as_object().expect("an object");
    let code = fields["returncode"].as_str().expect("a string");
    assert!(["0", "1", "404", "500", "D0"].contains(&code), "{printed}");
    let message = fields["message"].as_str().expect("a string");
    assert!(
        !message.contains('"') && message.len() <= nova_agent_core::response::MESSAGE_MAX,
        "{printed}"
    );
    assert!(
        fields.len() == 2 && (code != "D0" || message.bytes().all(|byte| byte.is_ascii_digit())),
        "{printed}"
    );
}
