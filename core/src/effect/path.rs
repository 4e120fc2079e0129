//! Paths and modes of the guest's file system.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// The longest path that Linux accepts, without its NUL (`linux/limits.h`, `PATH_MAX`).
pub const PATH_MAX: usize = 4095;

/// The longest component of a path (`linux/limits.h`, `NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// An absolute, normalized path of the guest: no `.`, `..`, empty component, trailing slash or control character.
///
/// It is not a path of the process that carries an effect out: in a sandbox it is looked up below the sandbox.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GuestPath(Cow<'static, str>);

impl GuestPath {
    /// The root directory, the only path that ends in a slash.
    pub const ROOT: Self = Self(Cow::Borrowed("/"));

    /// A path that is known when the program is compiled.
    ///
    /// # Panics
    /// If the path is not absolute and normalized. Use it in a `const` only: then the compiler refuses a bad path.
    #[must_use]
    #[allow(
        clippy::panic,
        reason = "evaluated in constants, where a panic is a compile error"
    )]
    pub const fn constant(path: &'static str) -> Self {
        match check(path.as_bytes()) {
            Ok(()) => Self(Cow::Borrowed(path)),
            Err(_) => panic!("not an absolute, normalized path"),
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The directory that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        match (parent, name) {
            ("", "") => None,
            ("", _) => Some(Self::ROOT),
            (parent, _) => Some(Self(Cow::Owned(parent.into()))),
        }
    }

    /// The path of `name` in this directory; `name` may have several components.
    ///
    /// # Errors
    /// [`InvalidGuestPath`] if the result would not be normalized.
    pub fn join(&self, name: &str) -> Result<Self, InvalidGuestPath> {
        let mut joined = String::from(if *self == Self::ROOT {
            ""
        } else {
            self.as_str()
        });
        joined.push('/');
        joined.push_str(name);
        Self::try_from(joined)
    }
}

impl TryFrom<String> for GuestPath {
    type Error = InvalidGuestPath;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        check(path.as_bytes())?;
        Ok(Self(Cow::Owned(path)))
    }
}

impl TryFrom<&str> for GuestPath {
    type Error = InvalidGuestPath;

    fn try_from(path: &str) -> Result<Self, Self::Error> {
        Self::try_from(String::from(path))
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a text is not a [`GuestPath`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidGuestPath {
    /// A byte below 0x20, or 0x7f.
    #[error("path holds a control character")]
    Control,
    /// An empty component, `.` or `..`, or a slash at the end.
    #[error("path is not normalized")]
    NotNormalized,
    /// It does not start with a slash.
    #[error("path is not absolute")]
    Relative,
    /// It is longer than [`PATH_MAX`], or a component is longer than [`NAME_MAX`] bytes.
    #[error("path is too long")]
    TooLong,
}

/// Permission bits of a file or directory, including set-id and sticky bits.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileMode(u16);

impl FileMode {
    /// `0644`: what every local user may read.
    pub const PUBLIC: Self = Self(0o644);
    /// `0600`: for root alone.
    pub const PRIVATE: Self = Self(0o600);
    /// `0755`: a directory that every local user may enter.
    pub const PUBLIC_DIRECTORY: Self = Self(0o755);
    /// `0700`: a directory for root alone.
    pub const PRIVATE_DIRECTORY: Self = Self(0o700);

    /// The mode with the low twelve bits of `bits`.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits & 0o7777)
    }

    /// The twelve bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Walks over the components by hand, as iterators are not available in constants.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "every index is below the length, and constants have neither iterators nor `get`"
)]
const fn check(path: &[u8]) -> Result<(), InvalidGuestPath> {
    if path.is_empty() || path[0] != b'/' {
        return Err(InvalidGuestPath::Relative);
    }
    if path.len() > PATH_MAX {
        return Err(InvalidGuestPath::TooLong);
    }
    if path.len() == 1 {
        return Ok(());
    }
    let mut start = 1;
    let mut at = 1;
    while at <= path.len() {
        if at == path.len() || path[at] == b'/' {
            let len = at - start;
            if len == 0
                || (len == 1 && path[start] == b'.')
                || (len == 2 && path[start] == b'.' && path[start + 1] == b'.')
            {
                return Err(InvalidGuestPath::NotNormalized);
            }
            if len > NAME_MAX {
                return Err(InvalidGuestPath::TooLong);
            }
            start = at + 1;
        } else if path[at] < 0x20 || path[at] == 0x7f {
            return Err(InvalidGuestPath::Control);
        }
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn only_absolute_normalized_paths_are_accepted() {
        for good in ["/", "/etc", "/etc/network/interfaces", "/a b/ü", "/..a/b.."] {
            assert_eq!(GuestPath::try_from(good).unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("", InvalidGuestPath::Relative),
            ("etc", InvalidGuestPath::Relative),
            ("//etc", InvalidGuestPath::NotNormalized),
            ("/etc/", InvalidGuestPath::NotNormalized),
            ("/etc/../shadow", InvalidGuestPath::NotNormalized),
            ("/./etc", InvalidGuestPath::NotNormalized),
            ("/etc\0", InvalidGuestPath::Control),
            ("/etc\n", InvalidGuestPath::Control),
        ] {
            assert_eq!(GuestPath::try_from(bad), Err(why), "{bad:?}");
        }
        let long_name = alloc::format!("/{}", "x".repeat(NAME_MAX + 1));
        assert_eq!(
            GuestPath::try_from(long_name),
            Err(InvalidGuestPath::TooLong)
        );
        let long_path = "/x".repeat(2048);
        assert_eq!(
            GuestPath::try_from(long_path),
            Err(InvalidGuestPath::TooLong)
        );
    }

    #[test]
    fn parents_end_at_the_root() {
        let path = GuestPath::try_from("/etc/hosts").unwrap();
        assert_eq!(path.name(), "hosts");
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "/etc");
        assert_eq!(parent.parent(), Some(GuestPath::ROOT));
        assert_eq!(GuestPath::ROOT.parent(), None);
    }

    #[test]
    fn joining_checks_the_name() {
        assert_eq!(GuestPath::ROOT.join("etc").unwrap().as_str(), "/etc");
        let etc = GuestPath::constant("/etc");
        assert_eq!(
            etc.join("network/interfaces").unwrap().as_str(),
            "/etc/network/interfaces"
        );
        assert_eq!(etc.join("../root"), Err(InvalidGuestPath::NotNormalized));
    }
}
