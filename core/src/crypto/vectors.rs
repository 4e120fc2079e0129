//! Known answers, made with the `openssl` program (3.0.19) and checked by decrypting with the bare key.

use alloc::vec;
use alloc::vec::Vec;

use aes::Aes128;
use cbc::Encryptor;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use num_bigint::BigUint;

use super::compat::{BLOCK_LEN, Digest, ENTROPY_MIN, KeyMaterial, PrivateKey, SharedSecret};
use crate::secret::Secret;

/// An exchange with both private keys.
#[derive(Debug)]
pub(super) struct KnownExchange {
    pub(super) host_private: &'static str,
    pub(super) guest_private: &'static str,
    pub(super) host_public: &'static str,
    pub(super) guest_public: &'static str,
    pub(super) shared: &'static str,
}

/// A password encrypted under the secret of one of the [`EXCHANGES`].
#[derive(Debug)]
pub(super) struct KnownCiphertext {
    /// The index among [`EXCHANGES`].
    pub(super) exchange: usize,
    pub(super) digest: Digest,
    /// The key and the initialization vector, 16 bytes each, in hexadecimal.
    pub(super) key_and_vector: &'static str,
    pub(super) plaintext: &'static str,
    pub(super) base64: &'static str,
}

/// A private key with a known exponent.
pub(super) fn private_key(decimal: &str) -> PrivateKey {
    let exponent = BigUint::parse_bytes(decimal.as_bytes(), 10)
        .unwrap()
        .to_bytes_be();
    let mut entropy = vec![0; ENTROPY_MIN.saturating_sub(exponent.len())];
    entropy.extend(exponent);
    PrivateKey::from_entropy(Secret::new(entropy)).unwrap()
}

/// The secret of one of the [`EXCHANGES`].
pub(super) fn shared_secret(exchange: usize) -> SharedSecret {
    SharedSecret::known(EXCHANGES[exchange].shared)
}

/// Encrypts as a host does, for plaintexts that no host would send.
pub(super) fn encrypt(plaintext: &[u8], secret: &SharedSecret, digest: Digest) -> Vec<u8> {
    let len = plaintext.len().strict_add(1).next_multiple_of(BLOCK_LEN);
    let count = u8::try_from(len.strict_sub(plaintext.len())).unwrap();
    let mut data = [plaintext, &vec![count; usize::from(count)]].concat();
    encrypt_unpadded(&mut data, secret, digest);
    data
}

/// Encrypts whole blocks as they are, so that a test can choose its own padding.
pub(super) fn encrypt_unpadded(data: &mut [u8], secret: &SharedSecret, digest: Digest) {
    let mut material = KeyMaterial::default();
    digest.derive(secret, &mut material);
    let mut cipher = Encryptor::<Aes128>::new((&material.0[0]).into(), (&material.0[1]).into());
    for block in data.as_chunks_mut::<BLOCK_LEN>().0 {
        cipher.encrypt_block(block.into());
    }
}

/// Bytes from hexadecimal.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

pub(super) const EXCHANGES: [KnownExchange; 5] = [
    KnownExchange {
        host_private: "93055292000370020129851",
        guest_private: "287398394064620126877387676630903695015",
        host_public: "118651915984640172265778366366426",
        guest_public: "77807892074740603229543760744278",
        shared: "158121478539702695566399765758397",
    },
    KnownExchange {
        host_private: "1049256754003873021548293",
        guest_private: "302915421506068271076699122190361549807",
        host_public: "102265168375228479233780515120048",
        guest_public: "159011102504111282747167239351300",
        shared: "48046682224653311464443247288411",
    },
    KnownExchange {
        host_private: "147418388942607201375084",
        guest_private: "206445116973443430823051840918196312112",
        host_public: "1713359113352400711410190177105",
        guest_public: "24953511981539486437230373939290",
        shared: "75249415527312669852725397577255",
    },
    KnownExchange {
        host_private: "1095097210112281527231702",
        guest_private: "7237498188514869288763793808851179483242244585223870161048091265443513243929251711933028731583360343767047082650844235039898401060032505586529072370322205",
        host_public: "40218136432435986366316910626546",
        guest_public: "71612664115039059976850552631627",
        shared: "113395095166435389910087545391685",
    },
    KnownExchange {
        host_private: "211560012923690722249001",
        guest_private: "323074605419920302846362592078594997359",
        host_public: "87870947227323983308713065445019",
        guest_public: "57676029670373760548222207588875",
        shared: "129658397733797091548772293056897",
    },
];

pub(super) const CIPHERTEXTS: [KnownCiphertext; 11] = [
    KnownCiphertext {
        exchange: 0,
        digest: Digest::Md5,
        key_and_vector: "323cf9f79592cf5145e79ccb2794f472439c49fd0d2616173afc3a131481eb2c",
        plaintext: "Tr0ub4dor&3\n",
        base64: "hWP5OP7ypes7fweTnznY6A==",
    },
    KnownCiphertext {
        exchange: 0,
        digest: Digest::Sha256,
        key_and_vector: "cbbfbf62702914827ca765f9ddc6977b4acd56ebb736b8339841d26e48e21314",
        plaintext: "Tr0ub4dor&3\n",
        base64: "alzJvStQjAAr/DE/lzHMCw==",
    },
    KnownCiphertext {
        exchange: 0,
        digest: Digest::Sha1,
        key_and_vector: "e4b956c30b061180c93c52123ee743668c2fb48e1b6312ed432cd22aa00c32d0",
        plaintext: "Tr0ub4dor&3\n",
        base64: "Lt8vpgimVwLg9lpiM4hQOw==",
    },
    KnownCiphertext {
        exchange: 1,
        digest: Digest::Md5,
        key_and_vector: "eb2ed7cde6395928f128c7666232b8ab7f29aa9f6b667748db650c2de92d288d",
        plaintext: "Пароль-日本語-ñ€🔑\n",
        base64: "PexZKeg0z8TA14rwxkaHkWN+sCP5Q9gEM7PjuAZPQKTTwHSNnTSbS3rhkOJ3jQ68",
    },
    KnownCiphertext {
        exchange: 1,
        digest: Digest::Sha256,
        key_and_vector: "183b69e4589f5c8903b212f3829af66e9e2f0deee6d988f1a6028b0520a70ee9",
        plaintext: "Пароль-日本語-ñ€🔑\n",
        base64: "x8l20D+oWBJXx4tZPXipbXTXItpUROT8p66GWZXvTx6X1HSKe+ap3v4hEvokEROr",
    },
    KnownCiphertext {
        exchange: 2,
        digest: Digest::Md5,
        key_and_vector: "d6c1656ff290951e49dbe9b756437b441716f5e419b6be298d9c2fa160997b69",
        plaintext: "\n",
        base64: "VzxfVUmP1KY6szLEvUwT3w==",
    },
    KnownCiphertext {
        exchange: 2,
        digest: Digest::Sha256,
        key_and_vector: "c0e9b06d4906ca1eabe857d596fe2b2792dc17d5d59e61439e8adb8de09c4149",
        plaintext: "\n",
        base64: "OH/LyYqkdV5ygzXiAqlpyg==",
    },
    KnownCiphertext {
        exchange: 3,
        digest: Digest::Md5,
        key_and_vector: "5b7e579e6489fc5ec696ee941064482a5e64143bc230be64748ee84b8ddf068e",
        plaintext: "0123456789abcdef\n",
        base64: "4+EEaOlgKpirbeqtER6AjPv0XeoyAcfZdy4EhCVscDM=",
    },
    KnownCiphertext {
        exchange: 3,
        digest: Digest::Sha256,
        key_and_vector: "c1a5cdc4be06e970d243eefd4ac147dac4f9855d76d0c0cd2bb4a000cb39a66b",
        plaintext: "0123456789abcde\n",
        base64: "JsKQECsRPwHG8EUFEdcOOGdTH6omTbqxAioWBM37vb0=",
    },
    KnownCiphertext {
        exchange: 4,
        digest: Digest::Md5,
        key_and_vector: "8d8a7f467639066e878e889af1a66ac764866b6bffaf515209d97c4201344c45",
        plaintext: "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick brown fox \n",
        base64: "wTZP9KVXociVo264duyCvP9uNhDghE3Ind0T2aNVrTcD0AYY6KMLunneIL8Ii/iZ/rJrCS4SZEeF/XOqlZY+hPDCN+AEI0CRcC79itTX320z7iOBzIqyTnHHF+psWrcx4PMaLi2aK67cDCzmEurskr8OmsnFtPvibifr59LmOPSOnmPLBAsqzcvK63C+LK8Flqd9+xqFExEyWwc+LMZNOjN1mCsV6oIOxBfJYkKKBfhYwxKXXlgrcRN+55zSgtE7KgzFRXqEkLN45xM7CZgeUw==",
    },
    KnownCiphertext {
        exchange: 4,
        digest: Digest::Md5,
        key_and_vector: "8d8a7f467639066e878e889af1a66ac764866b6bffaf515209d97c4201344c45",
        plaintext: "no-newline",
        base64: "lGCos7vI/YmK2TBOX3kQKg==",
    },
];
