//! Paths and tokens.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The longest absolute path (`xs_wire.h`, `XENSTORE_ABS_PATH_MAX`). Daemons may allow less.
pub const ABSOLUTE_PATH_MAX: usize = 3072;

/// The longest relative path (`xs_wire.h`, `XENSTORE_REL_PATH_MAX`). Daemons may allow less.
pub const RELATIVE_PATH_MAX: usize = 2048;

/// A path that a store accepts: `A-Z a-z 0-9 - _ / @`, no empty component and no slash at the end.
///
/// It is absolute, or relative to the home of the domain that uses it, or the name of a special watch.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StorePath(Cow<'static, str>);

impl StorePath {
    /// The root of the store, the only path that ends in a slash.
    pub const ROOT: Self = Self(Cow::Borrowed("/"));

    /// A path that is known when the program is compiled.
    ///
    /// # Panics
    /// If the path is not valid. Use it in a `const` only: then the compiler refuses a bad path.
    #[must_use]
    #[allow(
        clippy::panic,
        reason = "evaluated in constants, where a panic is a compile error"
    )]
    pub const fn constant(path: &'static str) -> Self {
        match check(path.as_bytes()) {
            Ok(()) => Self(Cow::Borrowed(path)),
            Err(_) => panic!("not a path of Xenstore"),
        }
    }

    /// Checks the bytes of a message.
    ///
    /// # Errors
    /// [`InvalidPath`] says what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidPath> {
        check(bytes)?;
        // Every byte that passes is ASCII.
        let text = core::str::from_utf8(bytes).map_err(|_| InvalidPath::Byte)?;
        Ok(Self(Cow::Owned(text.into())))
    }

    /// The path of `name` below this one; `name` may have several components.
    ///
    /// # Errors
    /// [`InvalidPath`] if the result would not be valid.
    pub fn join(&self, name: &str) -> Result<Self, InvalidPath> {
        let mut joined = String::from(if *self == Self::ROOT {
            ""
        } else {
            self.as_str()
        });
        joined.push('/');
        joined.push_str(name);
        Self::try_from(joined)
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the path starts from.
    #[must_use]
    pub fn kind(&self) -> PathKind {
        match self.0.as_bytes().first() {
            Some(b'/') => PathKind::Absolute,
            Some(b'@') => PathKind::Special,
            _ => PathKind::Relative,
        }
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path without its last component; `None` for the root and for a path of one relative component.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/')? {
            ("", "") => None,
            ("", _) => Some(Self::ROOT),
            (parent, _) => Some(Self(Cow::Owned(parent.into()))),
        }
    }

    /// What follows `ancestor` and its slash in this path: `None` if it is not below it, empty if it is the same.
    #[must_use]
    pub fn below(&self, ancestor: &Self) -> Option<&str> {
        let rest = self.0.strip_prefix(if *ancestor == Self::ROOT {
            ""
        } else {
            ancestor.as_str()
        })?;
        match rest.strip_prefix('/') {
            Some(rest) => Some(rest),
            None if rest.is_empty() => Some(rest),
            None => None,
        }
    }
}

impl TryFrom<String> for StorePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        check(path.as_bytes())?;
        Ok(Self(Cow::Owned(path)))
    }
}

impl TryFrom<&str> for StorePath {
    type Error = InvalidPath;

    fn try_from(path: &str) -> Result<Self, Self::Error> {
        Self::try_from(String::from(path))
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a [`StorePath`] starts from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathKind {
    /// From the root.
    Absolute,
    /// From the home of the domain that uses it.
    Relative,
    /// Not a node: `@introduceDomain` and `@releaseDomain` can only be watched.
    Special,
}

/// Why bytes are not a [`StorePath`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPath {
    /// A byte that no path may hold.
    #[error("path holds a character that is not allowed")]
    Byte,
    /// There is none.
    #[error("path is empty")]
    Empty,
    /// Two slashes in a row, or one at the end.
    #[error("path has an empty component")]
    EmptyComponent,
    /// Longer than [`ABSOLUTE_PATH_MAX`] or [`RELATIVE_PATH_MAX`].
    #[error("path is too long")]
    TooLong,
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a const fn has no iterators; i < len"
)]
const fn check(path: &[u8]) -> Result<(), InvalidPath> {
    let Some(first) = path.first() else {
        return Err(InvalidPath::Empty);
    };
    let max = if *first == b'/' {
        ABSOLUTE_PATH_MAX
    } else {
        RELATIVE_PATH_MAX
    };
    if path.len() > max {
        return Err(InvalidPath::TooLong);
    }
    let mut i = 0;
    while i < path.len() {
        match path[i] {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'@' => {}
            // A slash is followed by a component, unless it is the root's.
            b'/' if i + 1 < path.len() && path[i + 1] != b'/' => {}
            b'/' if path.len() == 1 => {}
            b'/' => return Err(InvalidPath::EmptyComponent),
            _ => return Err(InvalidPath::Byte),
        }
        i += 1;
    }
    Ok(())
}

/// What a client gives a watch, to find it again in its events: any bytes but NUL.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token(Vec<u8>);

impl Token {
    /// The bytes of the token.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Token {
    type Error = InvalidToken;

    fn try_from(token: &[u8]) -> Result<Self, Self::Error> {
        if token.contains(&0) {
            return Err(InvalidToken);
        }
        Ok(Self(token.into()))
    }
}

impl TryFrom<&str> for Token {
    type Error = InvalidToken;

    fn try_from(token: &str) -> Result<Self, Self::Error> {
        Self::try_from(token.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A token with a NUL in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("token holds a NUL")]
pub struct InvalidToken;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StorePath {
        StorePath::try_from(text).unwrap()
    }

    #[test]
    fn what_daemons_refuse_is_no_path() {
        for (text, error) in [
            ("", InvalidPath::Empty),
            ("a b", InvalidPath::Byte),
            ("data/h\u{e9}", InvalidPath::Byte),
            ("data/a.b", InvalidPath::Byte),
            ("data/", InvalidPath::EmptyComponent),
            ("//", InvalidPath::EmptyComponent),
            ("/data//host", InvalidPath::EmptyComponent),
        ] {
            assert_eq!(StorePath::try_from(text), Err(error), "{text}");
        }
        assert_eq!(StorePath::from_bytes(b"a\0"), Err(InvalidPath::Byte));
    }

    #[test]
    fn the_length_limit_depends_on_the_kind() {
        let relative = "x".repeat(RELATIVE_PATH_MAX);
        assert!(StorePath::try_from(relative.as_str()).is_ok());
        assert_eq!(
            StorePath::try_from(relative + "x"),
            Err(InvalidPath::TooLong)
        );
        let absolute = String::from("/") + &"x".repeat(ABSOLUTE_PATH_MAX - 1);
        assert!(StorePath::try_from(absolute.as_str()).is_ok());
        assert_eq!(
            StorePath::try_from(absolute + "x"),
            Err(InvalidPath::TooLong)
        );
    }

    #[test]
    fn the_first_byte_tells_the_kind() {
        assert_eq!(path("/local/domain/5").kind(), PathKind::Absolute);
        assert_eq!(path("/").kind(), PathKind::Absolute);
        assert_eq!(path("data/host").kind(), PathKind::Relative);
        assert_eq!(path("@releaseDomain").kind(), PathKind::Special);
    }

    #[test]
    fn a_path_is_below_itself_and_its_ancestors_only() {
        let host = path("data/host");
        assert_eq!(path("data/host/8b3e").below(&host), Some("8b3e"));
        assert_eq!(path("data/host/8b3e/x").below(&host), Some("8b3e/x"));
        assert_eq!(path("data/host").below(&host), Some(""));
        assert_eq!(path("data/hostname").below(&host), None);
        assert_eq!(path("data").below(&host), None);
        assert_eq!(path("/a").below(&StorePath::ROOT), Some("a"));
        assert_eq!(StorePath::ROOT.below(&StorePath::ROOT), Some(""));
    }

    #[test]
    fn join_parent_and_name_fit_together() {
        const DATA: StorePath = StorePath::constant("data");
        let id = DATA.join("host/8b3e").unwrap();
        assert_eq!((id.as_str(), id.name()), ("data/host/8b3e", "8b3e"));
        assert_eq!(id.parent(), Some(path("data/host")));
        assert_eq!(DATA.parent(), None);
        assert_eq!(
            StorePath::ROOT.join("vm").unwrap().parent(),
            Some(StorePath::ROOT)
        );
        assert_eq!(DATA.join("a b"), Err(InvalidPath::Byte));
        assert_eq!(DATA.join(""), Err(InvalidPath::EmptyComponent));
    }
}
