//! The names of errors, as the store writes them.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

macro_rules! error_names {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What an ERROR reply says (`xs_wire.h`, `xsd_errors`), and `EQUOTA`, which only `oxenstored` uses.
        ///
        /// Daemons and versions disagree on which name stands for which failure, and newer ones may use others.
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum ErrorName {
            $($(#[$doc])* $variant,)*
            /// A name that is not known, to be treated as a failure without a reason.
            Other(Cow<'static, str>),
        }

        impl ErrorName {
            /// The name on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for ErrorName {
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Other(Cow::Owned(String::from(name))),
                }
            }
        }
    };
}

error_names! {
    /// Something is larger than allowed: a list of children, a value or the number of watches.
    E2Big = "E2BIG",
    /// Not permitted.
    Eacces = "EACCES",
    /// A transaction met a conflict and has to be done again from its start.
    Eagain = "EAGAIN",
    /// A transaction inside a transaction.
    Ebusy = "EBUSY",
    /// The watch exists already.
    Eexist = "EEXIST",
    /// The request, its path or its value is malformed.
    Einval = "EINVAL",
    /// Input or output failed; `oxenstored`: an unknown transaction.
    Eio = "EIO",
    /// The domain is connected already.
    Eisconn = "EISCONN",
    /// A directory where there must be none.
    Eisdir = "EISDIR",
    /// No such node, watch or transaction.
    Enoent = "ENOENT",
    /// The daemon has no memory left.
    Enomem = "ENOMEM",
    /// A quota of the C daemon is used up, or a node is too large for it.
    Enospc = "ENOSPC",
    /// The daemon does not know the operation.
    Enosys = "ENOSYS",
    /// The directory is not empty.
    Enotempty = "ENOTEMPTY",
    /// Only the owner, or only dom0, may do that.
    Eperm = "EPERM",
    /// A quota of `oxenstored` is used up.
    Equota = "EQUOTA",
    /// The store is read-only.
    Erofs = "EROFS",
}

impl ErrorName {
    /// Whether a quota or a size limit was met: the daemons use three names for it.
    #[must_use]
    pub const fn is_quota(&self) -> bool {
        matches!(self, Self::E2Big | Self::Enospc | Self::Equota)
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for ErrorName {}
