//! Keys and passwords of a host, with the random numbers of the system and the `openssl` program.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use nova_agent_core::secret::Secret;
use nova_agent_sim::host::{HostKey, KeyExchange};

use super::{Error, random};

/// The digest that `openssl` derives the key with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyDigest {
    /// The default of the installed program, as Nova runs it.
    #[default]
    Default,
    /// MD5, the default up to OpenSSL 1.0.2.
    Md5,
    /// SHA-1, which no version has as its default.
    Sha1,
    /// SHA-256, the default since OpenSSL 1.1.0.
    Sha256,
}

/// A private key of 80 random bits, as Nova makes one for each exchange.
pub(super) fn generate_key() -> Result<HostKey, Error> {
    Ok(HostKey::from_entropy(&random::bytes::<10>()?))
}

/// Encrypts a password and one newline with the program that Nova runs, and with the arguments that Nova gives it.
///
/// The secret is in an argument then, for everybody on the machine to see: so it is on a host.
///
/// # Errors
/// [`Error::Openssl`].
pub fn encrypt(
    exchange: &KeyExchange,
    password: &Secret,
    digest: KeyDigest,
) -> Result<String, Error> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "aes-128-cbc",
        "-A",
        "-a",
        "-pass",
        &format!("pass:{}", exchange.secret()),
        "-nosalt",
    ]);
    match digest {
        KeyDigest::Default => {}
        KeyDigest::Md5 => _ = openssl.args(["-md", "md5"]),
        KeyDigest::Sha1 => _ = openssl.args(["-md", "sha1"]),
        KeyDigest::Sha256 => _ = openssl.args(["-md", "sha256"]),
    }
    let output = run(&mut openssl, password).map_err(Error::Openssl)?;
    Ok(output.trim_matches('\n').into())
}

/// Runs a program with `line` and a newline as its input. Warnings on its standard error are thrown away, as Nova does.
fn run(command: &mut Command, line: &Secret) -> io::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin
            .write_all(line.expose())
            .and_then(|()| stdin.write_all(b"\n")),
        None => Ok(()),
    };
    let output = child.wait_with_output()?;
    written?;
    if !output.status.success() {
        return Err(io::Error::other(output.status.to_string()));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use nova_agent_core::Instant;
    use nova_agent_core::crypto::compat::{ENTROPY_MIN, PrivateKey, PublicKey};
    use nova_agent_core::crypto::exchanges::{Exchanges, PasswordError};

    use super::*;

    #[test]
    fn the_agent_decrypts_what_the_installed_openssl_encrypts() {
        let digests = [
            KeyDigest::Default,
            KeyDigest::Md5,
            KeyDigest::Sha1,
            KeyDigest::Sha256,
        ];
        let passwords = [
            "",
            "x",
            "Tr0ub4dor&3",
            "fifteen letters",
            "sixteen letters!",
            "\u{43f}\u{430}\u{440}\u{1f511}\t~",
        ];
        for digest in digests {
            for password in passwords {
                let (host, mut exchanges) = exchange();
                let ciphertext =
                    encrypt(&host, &Secret::from(String::from(password)), digest).unwrap();
                assert_eq!(
                    exchanges.decrypt(&ciphertext).unwrap().expose(),
                    password.as_bytes(),
                    "{digest:?}"
                );
            }
        }
    }

    #[test]
    fn a_password_for_another_exchange_is_refused() {
        let (host, _) = exchange();
        let (_, mut exchanges) = exchange();
        let ciphertext = encrypt(
            &host,
            &Secret::from(String::from("Tr0ub4dor&3")),
            KeyDigest::Default,
        )
        .unwrap();
        assert_eq!(exchanges.decrypt(&ciphertext), Err(PasswordError::Invalid));
    }

    /// Both ends of a fresh exchange.
    fn exchange() -> (KeyExchange, Exchanges) {
        let host = generate_key().unwrap();
        let entropy = random::bytes::<ENTROPY_MIN>().unwrap();
        let agent = PrivateKey::from_entropy(Secret::new(entropy.to_vec())).unwrap();
        let answer = agent.public_key().to_string();
        let mut exchanges = Exchanges::new();
        exchanges.insert(
            Instant::default(),
            agent.agree(&PublicKey::try_from(host.public().as_str()).unwrap()),
        );
        (host.agree(&answer).unwrap(), exchanges)
    }
}
