//! Hardware addresses.

use core::fmt;

/// The hardware address of an Ethernet interface: never zero and never a multicast address.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// The six bytes in the order in which they are written.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl TryFrom<[u8; 6]> for MacAddr {
    type Error = InvalidMacAddr;

    fn try_from(octets: [u8; 6]) -> Result<Self, Self::Error> {
        match octets {
            [0, 0, 0, 0, 0, 0] => Err(InvalidMacAddr),
            [first, ..] if first & 1 == 1 => Err(InvalidMacAddr),
            _ => Ok(Self(octets)),
        }
    }
}

/// Accepts any case, with colons, dashes or no separators at all.
impl TryFrom<&str> for MacAddr {
    type Error = InvalidMacAddr;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let mut octets = [0; 6];
        let mut rest = text.trim();
        let separator = rest.chars().nth(2).filter(|c| matches!(c, ':' | '-'));
        for (nth, octet) in octets.iter_mut().enumerate() {
            if let Some(separator) = separator
                && nth > 0
            {
                rest = rest.strip_prefix(separator).ok_or(InvalidMacAddr)?;
            }
            let (digits, tail) = rest.split_at_checked(2).ok_or(InvalidMacAddr)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(InvalidMacAddr);
            }
            *octet = u8::from_str_radix(digits, 16).map_err(|_| InvalidMacAddr)?;
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(InvalidMacAddr);
        }
        Self::try_from(octets)
    }
}

/// Lower case with colons, as the kernel prints it.
impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text or the bytes are not the address of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("bad MAC address")]
pub struct InvalidMacAddr;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_spelling_means_the_same_address() {
        for text in [
            "BC:76:4E:20:75:72",
            "bc-76-4e-20-75-72",
            "BC764e207572",
            " bc:76:4e:20:75:72\n",
        ] {
            assert_eq!(
                MacAddr::try_from(text).unwrap().to_string(),
                "bc:76:4e:20:75:72"
            );
        }
    }

    #[test]
    fn what_no_interface_can_have_is_refused() {
        for text in [
            "",
            "bc:76:4e:20:75",
            "bc:76:4e:20:75:7",
            "bc:76:4e:20:75:72:00",
            "bc:76-4e:20:75:72",
            "bc:76:4e:20:75:7g",
            "+c:76:4e:20:75:72",
            "00:00:00:00:00:00",
            "01:76:4e:20:75:72",
            "bü:76:4e:20:75:72",
        ] {
            assert_eq!(MacAddr::try_from(text), Err(InvalidMacAddr), "{text:?}");
        }
    }
}
