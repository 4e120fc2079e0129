//! Replacing a file or symlink in one instant: a temporary file in the same directory, then a rename.

use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nova_agent_core::effect::{FileMode, NAME_MAX};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::process::Pid;

use super::label::Label;
use crate::file_error::FileError;
use crate::root::{Directory, file_type};

/// The attributes of a file besides its content.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    mode: FileMode,
    /// User and group; the creator's if `None`.
    owner: Option<(u32, u32)>,
    label: Option<Label>,
}

impl Attributes {
    /// Those of a file that is created.
    pub(crate) const fn new(mode: FileMode) -> Self {
        Self {
            mode,
            owner: None,
            label: None,
        }
    }

    /// Those of a file that exists.
    pub(crate) fn of(file: &File, stat: &Stat) -> Self {
        Self {
            mode: mode_of(stat),
            owner: Some((stat.st_uid, stat.st_gid)),
            label: Label::of(file),
        }
    }

    pub(crate) fn with_mode(self, mode: FileMode) -> Self {
        Self { mode, ..self }
    }
}

/// The permission bits of a file.
pub(crate) fn mode_of(stat: &Stat) -> FileMode {
    // The mask leaves twelve bits, which fit.
    FileMode::new(u16::try_from(stat.st_mode & 0o7777).unwrap_or_default())
}

/// What is at a name.
#[derive(Debug)]
pub(crate) enum Present {
    Missing,
    Other(FileType),
    Regular(File, Stat),
    Symlink(String),
}

/// Looks at a name without following a symlink, and opens a regular file.
pub(crate) fn look(directory: &Directory, name: &str) -> Result<Present, FileError> {
    let stat = match directory.stat(name) {
        Ok(stat) => stat,
        Err(FileError::Missing { .. }) => return Ok(Present::Missing),
        Err(error) => return Err(error),
    };
    if file_type(&stat).is_symlink() {
        return Ok(Present::Symlink(directory.read_link(name)?));
    }
    if !file_type(&stat).is_file() {
        return Ok(Present::Other(file_type(&stat)));
    }
    // Should it be something else by now, opening it must neither wait nor have an effect.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())
        .map_err(|errno| directory.entry_error("open", name, errno))?;
    let stat =
        rustix::fs::fstat(&file).map_err(|errno| directory.entry_error("look at", name, errno))?;
    if !file_type(&stat).is_file() {
        return Ok(Present::Other(file_type(&stat)));
    }
    Ok(Present::Regular(File::from(file), stat))
}

/// Puts a file with these attributes and what `fill` writes at `name`, or changes nothing.
pub(crate) fn replace(
    directory: &Directory,
    name: &str,
    attributes: &Attributes,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    let (temporary, mut file) = Temporary::file(directory, name)?;
    let at = |action| move |errno: Errno| directory.entry_error(action, name, errno);

    // Owner, then mode: changing the owner clears set-id bits. Both before there is content to be protected.
    if let Some((user, group)) = attributes.owner {
        let stat = rustix::fs::fstat(&file).map_err(at("look at the new"))?;
        if (stat.st_uid, stat.st_gid) != (user, group) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
                .map_err(at("set the owner of"))?;
        }
    }
    rustix::fs::fchmod(&file, raw_mode(attributes.mode)).map_err(at("set the mode of"))?;
    if let Some(label) = &attributes.label {
        label.apply(&file);
    }
    fill(&mut file).map_err(FileError::io("write", directory.path_of(name)))?;
    file.sync_all()
        .map_err(FileError::io("write", directory.path_of(name)))?;
    temporary.persist()
}

/// Puts a symlink at `name`, or changes nothing.
pub(crate) fn replace_with_symlink(
    directory: &Directory,
    name: &str,
    target: &str,
) -> Result<(), FileError> {
    Temporary::symlink(directory, name, target)?.persist()
}

/// Makes a change of a directory last. The change is done whatever comes of this.
pub(crate) fn sync(directory: &Directory) {
    if let Err(error) = rustix::fs::fsync(directory) {
        tracing::warn!(%error, directory = directory.path(), "failed to sync a directory: a change may not survive a crash");
    }
}

pub(crate) fn raw_mode(mode: FileMode) -> Mode {
    Mode::from_bits_truncate(mode.bits().into())
}

/// An entry under a temporary name, removed unless it is renamed.
pub(crate) struct Temporary<'a> {
    directory: &'a Directory,
    name: &'a str,
    temporary: Option<String>,
}

impl<'a> Temporary<'a> {
    /// A file that only root may read, under a name that is made of `name`.
    pub(crate) fn file(directory: &'a Directory, name: &'a str) -> Result<(Self, File), FileError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::create(directory, name, |temporary| {
            rustix::fs::openat(directory, temporary, flags, Mode::RUSR | Mode::WUSR).map(File::from)
        })
    }

    fn symlink(directory: &'a Directory, name: &'a str, target: &str) -> Result<Self, FileError> {
        let (temporary, ()) = Self::create(directory, name, |temporary| {
            rustix::fs::symlinkat(target, directory, temporary)
        })?;
        Ok(temporary)
    }

    fn create<T>(
        directory: &'a Directory,
        name: &'a str,
        create: impl Fn(&str) -> Result<T, Errno>,
    ) -> Result<(Self, T), FileError> {
        /// Names are random, so even one collision is another user's attempt.
        const ATTEMPTS: usize = 8;

        remove_stale(directory);
        let mut attempt = 1;
        loop {
            let temporary = temporary_name(name);
            match create(&temporary) {
                Ok(created) => {
                    return Ok((
                        Self {
                            directory,
                            name,
                            temporary: Some(temporary),
                        },
                        created,
                    ));
                }
                Err(Errno::EXIST) if attempt < ATTEMPTS => attempt += 1,
                Err(errno) => {
                    return Err(FileError::io(
                        "create a file beside",
                        directory.path_of(name),
                    )(errno));
                }
            }
        }
    }

    /// Where it is in its directory.
    pub(crate) fn name(&self) -> &str {
        self.temporary.as_deref().unwrap_or(self.name)
    }

    fn persist(mut self) -> Result<(), FileError> {
        if let Some(temporary) = &self.temporary {
            rustix::fs::renameat(self.directory, temporary, self.directory, self.name)
                .map_err(FileError::io("replace", self.directory.path_of(self.name)))?;
        }
        self.temporary = None;
        sync(self.directory);
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(error) = rustix::fs::unlinkat(self.directory, temporary, AtFlags::empty())
        {
            tracing::warn!(%error, path = self.directory.path_of(temporary), "failed to remove a temporary file");
        }
    }
}

/// Between the name of a file and what tells its temporary files apart.
const MARK: &str = ".nova-";

/// `.<name>.nova-<pid>-<run>-<random>`: hidden, because tools that read whole directories skip hidden files.
fn temporary_name(name: &str) -> String {
    /// Should the system have no random bytes, names at least differ.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    /// What stands around `name`: a dot, the mark, and three numbers of at most ten digits with two dashes.
    const AROUND: usize = 1 + MARK.len() + 32;

    let mut end = name.len().min(NAME_MAX - AROUND);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = name.get(..end).unwrap_or_default();
    let pid = std::process::id();
    // A new one each time: in a shared directory, who has seen one name could occupy those that follow.
    let number = getrandom::u32().unwrap_or_else(|_| NUMBER.fetch_add(1, Ordering::Relaxed));
    format!(".{name}{MARK}{pid}-{:08x}-{number}", run_id())
}

/// Tells this run from earlier ones with the same process id, which are common right after boot.
fn run_id() -> u32 {
    static RUN_ID: OnceLock<u32> = OnceLock::new();
    *RUN_ID.get_or_init(|| getrandom::u32().unwrap_or_default())
}

/// Removes what a run that was killed has left in a directory. Best effort.
fn remove_stale(directory: &Directory) {
    /// Entries looked at: far more than a directory of configuration files has.
    const ENTRIES_MAX: usize = 4096;

    let Ok(entries) = Dir::read_from(directory) else {
        return;
    };
    for entry in entries.take(ENTRIES_MAX).filter_map(Result::ok) {
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if is_stale(name) && is_ours(directory, name) {
            let removed = rustix::fs::unlinkat(directory, name, AtFlags::empty()).is_ok();
            tracing::info!(
                path = directory.path_of(name),
                removed,
                "found a file of an interrupted run"
            );
        }
    }
}

/// Whether the agent must have made an entry: no other user makes entries in a directory that is not shared. The owner
/// of the entry proves nothing there, because it is that of the file to be replaced.
fn is_ours(directory: &Directory, name: &str) -> bool {
    !directory.is_shared()
        || directory
            .stat(name)
            .is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw())
}

/// Whether a name is that of a temporary file whose run is over.
fn is_stale(name: &str) -> bool {
    let Some((front, tail)) = name.rsplit_once(MARK) else {
        return false;
    };
    let mut parts = tail.split('-');
    let (Some(pid), Some(run), Some(number), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (Ok(pid), Ok(run), true) = (
        pid.parse::<i32>(),
        u32::from_str_radix(run, 16),
        number.bytes().all(|digit| digit.is_ascii_digit()),
    ) else {
        return false;
    };
    let Some(process) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        return false;
    };
    let is_over = process == rustix::process::getpid()
        || rustix::process::test_kill_process(process) == Err(Errno::SRCH);
    front.starts_with('.') && run != run_id() && is_over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_recognized_only_when_their_run_is_over() {
        let own = temporary_name("hosts");
        assert!(own.starts_with(".hosts.nova-"), "{own}");
        assert!(!is_stale(&own));
        let pid = std::process::id();
        let other_run = run_id().wrapping_add(1);
        assert!(is_stale(&format!(".hosts.nova-{pid}-{other_run:08x}-0")));
        for not_ours in [
            "hosts",
            ".hosts.nova-",
            ".hosts.nova-1",
            ".hosts.nova-x-y-z",
            "hosts.nova-4000000-00000000-0",
            ".hosts.nova--5-00000000-0",
            ".hosts.nova-1-00000000-0", // a process that lives
        ] {
            assert!(!is_stale(not_ours), "{not_ours}");
        }
    }

    #[test]
    fn a_temporary_name_does_not_tell_the_next_one() {
        let number = |name: String| {
            name.rsplit('-')
                .next()
                .and_then(|number| number.parse::<u32>().ok())
                .unwrap()
        };
        let numbers: Vec<u32> = (0..8).map(|_| number(temporary_name("hosts"))).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1),
            "{numbers:?}"
        );
    }

    #[test]
    fn temporary_names_fit_whatever_the_name() {
        assert!(temporary_name(&"x".repeat(NAME_MAX)).len() <= NAME_MAX);
        let wide = temporary_name(&"\u{fc}".repeat(127));
        assert!(wide.len() <= NAME_MAX, "{wide}");
    }
}
