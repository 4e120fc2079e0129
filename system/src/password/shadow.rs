//! The line of a user in `/etc/shadow`: see shadow(5).

use std::io::{Read, Write};

use nova_agent_core::effect::GuestPath;
use nova_agent_core::secret::Secret;
use sha_crypt::{PasswordHasher, ShaCrypt};
use zeroize::Zeroizing;

use super::lock::{Holder, ShadowLock};
use crate::file_error::FileError;
use crate::files::{self, Attributes, Present};
use crate::root::{Access, LastSymlink, Located, Root};
use crate::utc::Utc;

const PATH: GuestPath = GuestPath::constant("/etc/shadow");

/// The largest shadow file that is edited: some ten thousand users.
const LEN_MAX: usize = 4 * 1024 * 1024;

/// Bytes of salt: as many as fill the 16 characters that SHA-crypt uses.
const SALT_LEN: usize = 12;

/// A line that is to get a new hash.
pub(super) struct Edit {
    user: String,
    hash: Zeroizing<String>,
}

impl Edit {
    /// Computes the hash, before any lock is held, as it takes a moment.
    pub(super) fn new(user: String, password: &Secret) -> Result<Self, FileError> {
        Ok(Self {
            user,
            hash: hash(password)?,
        })
    }

    /// Puts the hash into the user's line, if no other process holds the lock. Every other byte of the file stays, and no copy
    /// of the old file is made.
    pub(super) fn attempt(&self, root: &Root) -> Result<Result<(), Holder>, FileError> {
        let place = root.place(&PATH, LastSymlink::Keep, Access::Write)?;
        match ShadowLock::acquire(&place.directory)? {
            Ok(_lock) => self.write(&place).map(Ok),
            Err(holder) => Ok(Err(holder)),
        }
    }

    fn write(&self, place: &Located) -> Result<(), FileError> {
        let (mut file, stat) = match files::look(&place.directory, &place.name)? {
            Present::Regular(file, stat) => (file, stat),
            Present::Missing => {
                return Err(FileError::refused(
                    "this system has neither chpasswd nor /etc/shadow",
                ));
            }
            Present::Other(_) | Present::Symlink(_) => {
                return Err(FileError::refused(format!("{PATH} is not a regular file")));
            }
        };
        let attributes = Attributes::of(&file, &stat);
        let old = read(&mut file)?;
        let new = edit(&old, &self.user, &self.hash, Utc::now().days())?;
        files::replace(&place.directory, &place.name, &attributes, |file| {
            file.write_all(&new)
        })
    }
}

fn read(file: &mut std::fs::File) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Reserved at once: growing would leave copies behind.
    let size = file.metadata().map_or(0, |metadata| {
        usize::try_from(metadata.len()).unwrap_or(usize::MAX)
    });
    let mut content = Zeroizing::new(Vec::with_capacity(size.min(LEN_MAX).saturating_add(1)));
    let limit = u64::try_from(LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut content)
        .map_err(FileError::io("read", PATH))?;
    if content.len() > LEN_MAX {
        return Err(FileError::refused(format!(
            "{PATH} is larger than {LEN_MAX} bytes"
        )));
    }
    Ok(content)
}

/// SHA-512 crypt, which every libcrypt of the last fifteen years verifies.
fn hash(password: &Secret) -> Result<Zeroizing<String>, FileError> {
    let mut salt = [0; SALT_LEN];
    getrandom::fill(&mut salt)
        .map_err(|error| FileError::refused(format!("no random salt: {error}")))?;
    let hash = ShaCrypt::SHA512
        .hash_password_with_salt(password.expose(), &salt)
        .map_err(|error| FileError::refused(format!("hash the password: {error}")))?;
    Ok(Zeroizing::new(hash.to_string()))
}

/// Replaces the second and third field of the user's line.
fn edit(old: &[u8], user: &str, hash: &str, today: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut new = Zeroizing::new(Vec::with_capacity(
        old.len().saturating_add(hash.len()).saturating_add(32),
    ));
    let mut is_found = false;
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        let mut fields = line.splitn(4, |byte| *byte == b':');
        let (Some(name), Some(_), Some(_), Some(rest)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            // Not the line of a user, or malformed: skip it, as getspnam(3) does.
            new.extend_from_slice(line);
            continue;
        };
        // Should there be two, it is the first that counts.
        if is_found || name != user.as_bytes() {
            new.extend_from_slice(line);
            continue;
        }
        is_found = true;
        new.extend_from_slice(name);
        new.push(b':');
        new.extend_from_slice(hash.as_bytes());
        new.push(b':');
        // A clock that was never set would mean "must be changed at the next login": leave the field empty.
        if today > 0 {
            new.extend_from_slice(today.to_string().as_bytes());
        }
        new.push(b':');
        new.extend_from_slice(rest);
    }
    if !is_found {
        return Err(FileError::refused(format!(
            "user {user} has no entry in {PATH}"
        )));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_two_fields_of_one_line_change() {
        let old: &[u8] =
            b"# comment\nroot:!:19000:0:99999:7:::\nbroken\nroot2:*:1::::::\n\xff\xfe:x:y:z\nroot:second:2::::::";
        let new = edit(old, "root", "$6$hash", 20_000).unwrap();
        let expected: &[u8] =
            b"# comment\nroot:$6$hash:20000:0:99999:7:::\nbroken\nroot2:*:1::::::\n\xff\xfe:x:y:z\nroot:second:2::::::";
        assert_eq!(&**new, expected);
        let last = edit(b"a:b:c:d::::\nroot:x:1:2:3:4:5:6:", "root", "h", 7).unwrap();
        assert_eq!(&**last, b"a:b:c:d::::\nroot:h:7:2:3:4:5:6:");
        let unset_clock = edit(b"root:x:1::::::\n", "root", "h", 0).unwrap();
        assert_eq!(&**unset_clock, b"root:h:::::::\n");
    }

    #[test]
    fn a_user_without_a_line_is_a_clear_error() {
        for shadow in [
            "",
            "roo:x:1::::::\n",
            "root\n",
            "root:x\n",
            "rootx:x:1::::::\n",
        ] {
            let error = edit(shadow.as_bytes(), "root", "h", 1).unwrap_err();
            assert_eq!(error.to_string(), "user root has no entry in /etc/shadow");
        }
    }

    #[test]
    fn a_shadow_file_of_the_largest_size_is_edited_and_a_larger_one_is_not() {
        let _turn = super::super::lock::turn();
        let sandbox = tempfile::tempdir().unwrap();
        std::fs::create_dir(sandbox.path().join("etc")).unwrap();
        let path = sandbox.path().join("etc/shadow");
        let root = Root::sandbox(sandbox.path()).unwrap();
        let set = || {
            Edit::new("root".into(), &Secret::from(String::from("x")))
                .unwrap()
                .attempt(&root)
                .map(|it| it.is_ok())
        };
        let line = "root:!:19000:0:99999:7:::\n";
        let text = |len: usize| format!("{line}{}", "#".repeat(len - line.len()));

        std::fs::write(&path, text(LEN_MAX)).unwrap();
        assert!(set().unwrap());
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("root:$6$")
        );
        std::fs::write(&path, text(LEN_MAX + 1)).unwrap();
        assert_eq!(
            set().unwrap_err().to_string(),
            "refused: /etc/shadow is larger than 4194304 bytes".replace("refused: ", "")
        );
        assert!(std::fs::read_to_string(&path).unwrap() == text(LEN_MAX + 1));
        assert!(!sandbox.path().join("etc/shadow.lock").exists());
    }

    /// Not longer than what openssl takes.
    const PASSWORDS: [&str; 3] = [
        "correct horse",
        "p\u{e4}ss:word$",
        "a long one: 0123456789012345678901234567890123456789",
    ];

    #[test]
    fn openssl_computes_the_same_hash() {
        for password in PASSWORDS {
            let ours = hash(&Secret::from(String::from(password))).unwrap();
            let salt = ours
                .strip_prefix("$6$")
                .unwrap()
                .rsplit_once('$')
                .unwrap()
                .0;
            let output = Command::new("openssl")
                .args(["passwd", "-6", "-salt", salt, password])
                .output()
                .expect("openssl is needed for this test");
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), *ours);
        }
    }

    #[test]
    fn the_c_library_computes_the_same_hash() {
        for password in PASSWORDS {
            let ours = hash(&Secret::from(String::from(password))).unwrap();
            let output = Command::new("perl")
                .args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, &ours])
                .output()
                .expect("perl is needed for this test");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), *ours);
        }
    }
}
