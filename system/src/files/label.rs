//! SELinux labels: the extended attribute `security.selinux`.

use std::fs::File;

/// A label as the kernel stores it.
#[derive(Clone, Debug)]
pub(crate) struct Label(
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "never made"))] Vec<u8>,
);

#[cfg(target_os = "linux")]
impl Label {
    const ATTRIBUTE: &'static str = "security.selinux";

    /// The longest label that is kept. The kernel's are below 100 bytes, long lists of categories included below 4 KiB.
    const LEN_MAX: usize = 4096;

    /// The label of a file; `None` where there is no SELinux.
    pub(crate) fn of(file: &File) -> Option<Self> {
        let mut label = vec![0; Self::LEN_MAX];
        let len = rustix::fs::fgetxattr(file, Self::ATTRIBUTE, label.as_mut_slice()).ok()?;
        label.truncate(len);
        Some(Self(label))
    }

    /// Best effort: without it the file has the label that the policy gives to new files of its directory.
    pub(crate) fn apply(&self, file: &File) {
        if let Err(error) = rustix::fs::fsetxattr(
            file,
            Self::ATTRIBUTE,
            &self.0,
            rustix::fs::XattrFlags::empty(),
        ) {
            tracing::warn!(%error, "failed to set the SELinux label of a replaced file");
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Label {
    pub(crate) fn of(_: &File) -> Option<Self> {
        None
    }

    pub(crate) fn apply(&self, _: &File) {}
}
