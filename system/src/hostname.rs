//! The hostname in the running kernel; in a sandbox, in this process's memory.

use std::sync::{Mutex, PoisonError};

use nova_agent_core::effect::{Change, Done, Failure, GuestPath};

use crate::file_error::FileError;
use crate::files::first_line;
use crate::root::Root;
use crate::sandbox::Record;

/// The longest name that a kernel takes (FreeBSD `MAXHOSTNAMELEN` without its NUL). Linux refuses more than 64 itself.
const LEN_MAX: usize = 255;

/// What the kernel of a sandbox would have for its name: that of the file at first, as after a boot.
#[derive(Debug, Default)]
pub(crate) struct Hostname {
    sandbox: Mutex<Option<String>>,
}

impl Hostname {
    pub(crate) fn set(&self, root: &Root, name: String) -> Result<Done, Failure> {
        if name.is_empty()
            || name.len() > LEN_MAX
            || name.bytes().any(|byte| byte.is_ascii_control())
        {
            return Err(Failure::Refused(String::from("not a hostname")));
        }
        let old = self.current(root);
        if root.is_sandbox() {
            root.record(&Record::SetHostname { hostname: &name })?;
            *self.sandbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        } else if old != name {
            rustix::system::sethostname(name.as_bytes())
                .map_err(FileError::io("set the hostname to", &name))?;
        }
        // An empty name cannot be set again.
        let undo = (old != name && !old.is_empty()).then_some(Change::SetHostname(old));
        Ok(Done { undo })
    }

    pub(crate) fn current(&self, root: &Root) -> String {
        if !root.is_sandbox() {
            return rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
        }
        const FILE: GuestPath = GuestPath::constant("/etc/hostname");
        let mut name = self.sandbox.lock().unwrap_or_else(PoisonError::into_inner);
        // Kept, because a kernel does not notice that the file changes.
        name.get_or_insert_with(|| {
            first_line(root, &FILE).unwrap_or_else(|| String::from("localhost"))
        })
        .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_longer_than_any_kernels_is_refused() {
        let sandbox = tempfile::tempdir().unwrap();
        let root = Root::sandbox(sandbox.path()).unwrap();
        let hostname = Hostname::default();
        hostname.set(&root, "x".repeat(LEN_MAX)).unwrap();
        assert!(matches!(
            hostname.set(&root, "y".repeat(LEN_MAX + 1)),
            Err(Failure::Refused(_))
        ));
        assert_eq!(hostname.current(&root), "x".repeat(LEN_MAX));
    }
}
