//! Randomness of the host.

use std::fs::File;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use nova_agent_core::secret::Secret;

use super::Error;

/// Fresh bytes from the system.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(Error::Random)?;
    Ok(bytes)
}

/// A password that nobody needs to know: 80 random bits.
///
/// # Errors
/// [`Error::Random`].
pub fn random_password() -> Result<Secret, Error> {
    let bits = bytes::<10>()?;
    Ok(Secret::from(STANDARD_NO_PAD.encode(bits)))
}

/// A version 4 UUID in lower case (RFC 9562, section 5.4).
pub(super) fn uuid() -> Result<String, Error> {
    let bits = u128::from_be_bytes(bytes()?);
    let bits = bits & !(0xf << 76) | 4 << 76;
    let bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let mut rest = hex.as_str();
    let mut groups = Vec::new();
    for len in [8, 4, 4, 4, 12] {
        let (group, tail) = rest.split_at_checked(len).unwrap_or((rest, ""));
        groups.push(group);
        rest = tail;
    }
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant_and_is_fresh() {
        let uuid = uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
        assert_eq!(
            uuid.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert_ne!(uuid, super::uuid().unwrap());
    }
}
