//! Key exchanges, and passwords that a host encrypted or that are noise.

use std::time::Duration;

use nova_agent_core::Instant;
use nova_agent_core::crypto::compat::{PrivateKey, PublicKey};
use nova_agent_core::crypto::exchanges::{EXCHANGES_MAX, Exchanges, PasswordError};
use nova_agent_core::secret::Secret;

use crate::bytes::Bytes;
use crate::host::{self, DIGESTS};

/// A byte of switches, the number of exchanges, then random bytes of both sides, the digest, a text for a public key and
/// a ciphertext, and the password as the rest.
///
/// Both sides agree. A password that a host may send comes out as it went in, and closes its exchange; any other plaintext
/// and any other ciphertext changes nothing, or gives a password without line break and NUL. Errors, and everything that
/// is printed, are the same whatever was encrypted.
pub fn decrypt(input: &[u8]) {
    let mut input = Bytes::new(input);
    let switches = input.byte();
    let others = input.below(EXCHANGES_MAX + 2);
    let (host_entropy, guest_entropy) = (input.chunk(), input.chunk());
    let digest = input.pick(&DIGESTS);
    let public_key = input.chunk();
    let noise = input.chunk();
    let password = input.rest();

    check_public_key(&String::from_utf8_lossy(public_key));
    let (Some(host), Some(guest)) = (
        host::private_key(host_entropy),
        host::private_key(guest_entropy),
    ) else {
        return;
    };
    let (host_public, guest_public) = (parsed(host.public_key()), parsed(guest.public_key()));
    let agreed = guest.agree(&host_public);
    let secret = host::agree(host, &guest_public);
    assert_eq!(agreed.expose(), secret, "the two sides do not agree");

    let mut exchanges = Exchanges::new();
    let is_first = switches & 1 == 0;
    let mut agreed = Some(agreed);
    for nth in 0..=others {
        let is_ours = nth == if is_first { 0 } else { others };
        match agreed.take_if(|_| is_ours) {
            Some(agreed) => exchanges.insert(at(nth), agreed),
            None => exchanges.insert(at(nth), other(nth, &host_public)),
        }
    }
    assert_eq!(exchanges.len(), (others + 1).min(EXCHANGES_MAX));
    let is_open = !is_first || others < EXCHANGES_MAX;

    check_noise(&mut exchanges, noise);
    let before = exchanges.len();

    let mut plaintext = password.to_vec();
    if switches & 2 == 0 {
        plaintext.push(b'\n');
    }
    let ciphertext = host::encrypt(&plaintext, &secret, digest);
    let text = host::base64(&ciphertext);
    let result = exchanges.decrypt(&text);
    check_printed(&format!("{result:?} {exchanges:?}"));
    let expected = acceptable(&plaintext);
    match (&result, expected) {
        (Ok(found), _) if expected.is_none() || !is_open || !plaintext.ends_with(b"\n") => {
            // A wrong key may give a text without a line break, in one of 10^8 cases; only then is it another one.
            let is_right = expected.is_some_and(|expected| is_open && found.expose() == expected);
            let others = DIGESTS.iter().filter(|other| **other != digest);
            let mut padded = others.map(|other| host::last_byte(&ciphertext, &secret, *other));
            let may_be_wrong =
                before > 1 || padded.any(|last| last.is_some_and(|last| (1..=16).contains(&last)));
            assert!(
                is_right || may_be_wrong,
                "another password than the one that was sent"
            );
            check_password(found);
        }
        (Ok(found), Some(expected)) => {
            assert!(
                found.expose() == expected,
                "another password than the one that was sent"
            )
        }
        (Ok(_), None) => unreachable!("the first arm"),
        (Err(error), expected) => {
            assert_eq!(*error, PasswordError::Invalid);
            assert!(expected.is_none() || !is_open, "a password was refused");
        }
    }
    assert_eq!(exchanges.len(), before - usize::from(result.is_ok()));
    if result.is_ok() && before == 1 {
        assert_eq!(
            exchanges.decrypt(&text),
            Err(PasswordError::NoExchange),
            "a secret was used twice"
        );
    }
    exchanges.clear();
    assert_eq!(exchanges.next_expiry(), None);
}

/// What a host may send: text without control characters but tabs, and one line break at its end, or none.
fn acceptable(plaintext: &[u8]) -> Option<&[u8]> {
    let line = plaintext.strip_suffix(b"\n").unwrap_or(plaintext);
    let text = std::str::from_utf8(line).ok()?;
    text.chars()
        .all(|c| c == '\t' || !c.is_control())
        .then_some(line)
}

fn check_public_key(text: &str) {
    const LAST: u128 = (1 << 107) - 3;

    let number = text.trim();
    let number = number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| number.trim_start_matches('0').parse().ok());
    let is_valid = number
        .flatten()
        .is_some_and(|number: u128| (2..=LAST).contains(&number));
    match PublicKey::try_from(text) {
        Ok(key) => {
            assert!(is_valid, "accepted {text:?}");
            assert_eq!(key, parsed(&key));
        }
        // Of zeros in front, only so many are taken.
        Err(_) => assert!(!is_valid || text.trim().len() > 40, "refused {text:?}"),
    }
}

/// Bytes that nobody encrypted, as text and in base64.
fn check_noise(exchanges: &mut Exchanges, noise: &[u8]) {
    for text in [
        String::from_utf8_lossy(noise).into_owned(),
        host::base64(noise),
    ] {
        let before = exchanges.len();
        match exchanges.decrypt(&text) {
            // So rare that it cannot be told from a password.
            Ok(password) => check_password(&password),
            Err(error) => {
                assert!(
                    matches!(error, PasswordError::Encoding | PasswordError::Invalid),
                    "{error}"
                );
                assert_eq!(exchanges.len(), before);
            }
        }
    }
}

fn check_password(password: &Secret) {
    let text = std::str::from_utf8(password.expose()).expect("a password is text");
    assert!(
        !text.contains(['\n', '\r', '\0']),
        "a password that no program can be given"
    );
}

/// What is printed holds nothing of the exchanges but how many there are and when they end.
fn check_printed(printed: &str) {
    let known = |word: &str| {
        let word = word.trim_start_matches('@');
        [
            "Ok",
            "Err",
            "Invalid",
            "Encoding",
            "NoExchange",
            "redacted",
            "Exchanges",
            "Exchange",
            "deadline",
            "secret",
        ]
        .contains(&word)
            || word
                .strip_suffix('s')
                .is_some_and(|seconds| seconds.parse::<f64>().is_ok())
            || word == "SharedSecret"
            || word.is_empty()
    };
    let unknown = printed
        .split(|c: char| " ()[]{},:\"".contains(c))
        .find(|word| !known(word));
    assert!(unknown.is_none(), "a secret, or {unknown:?}, is printed");
}

fn other(nth: usize, public: &PublicKey) -> nova_agent_core::crypto::compat::SharedSecret {
    let entropy = vec![u8::try_from(nth).unwrap() + 100; 16];
    PrivateKey::from_entropy(Secret::new(entropy))
        .unwrap()
        .agree(public)
}

fn parsed(key: &PublicKey) -> PublicKey {
    PublicKey::try_from(key.to_string().as_str()).expect("a key that was written is read")
}

fn at(nth: usize) -> Instant {
    Instant::from_origin(Duration::from_secs(u64::try_from(nth).unwrap()))
}
