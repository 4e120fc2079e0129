//! Setting a user's password: by the guest's own tool where there is one, else in `/etc/shadow`.

mod lock;
mod shadow;

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use nova_agent_core::effect::{Done, Failure, Outcome, Program};
use nova_agent_core::secret::Secret;
use zeroize::Zeroizing;

use self::shadow::Edit;
use crate::file_error::FileError;
use crate::pending::{Pending, PendingEffect, Started};
use crate::programs;
use crate::retry::RetrySchedule;
use crate::root::Root;
use crate::sandbox::Record;

/// The longest login name (Linux `useradd` takes 32; directories like LDAP have longer ones).
const USER_MAX: usize = 256;

/// The longest password (Linux-PAM `PAM_MAX_RESP_SIZE`).
const PASSWORD_MAX: usize = 512;

/// Below what the core waits for a password, killing included.
const TOOL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to try while another process has the shadow file locked. glibc's `lckpwdf` gives up after 15 s; the core waits
/// 30 s for a password.
const RETRY_LIMIT: Duration = Duration::from_secs(15);

/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Starts to set a password. In a sandbox it is always the shadow file that is edited.
pub(crate) fn set(root: &Root, user: String, password: Secret) -> Started {
    match try_set(root, user, password) {
        Ok(started) => started,
        Err(failure) => Started::Finished(Outcome::Failed(failure)),
    }
}

fn try_set(root: &Root, user: String, password: Secret) -> Result<Started, Failure> {
    check(&user, &password)?;
    if root.is_sandbox() {
        root.record(&Record::set_password(&user))?;
    } else if let Some(program) = tool(root, &user, &password) {
        return Ok(programs::launch(root, program, Some(password)));
    }
    let edit = Edit::new(user, &password)?;
    let retry = RetrySchedule::new(RETRY_LIMIT, RETRY_PAUSE);
    Ok(Box::new(PendingPassword { edit, retry }).advance(root, Instant::now()))
}

/// A password that is set as soon as no other process has the shadow file locked.
struct PendingPassword {
    edit: Edit,
    retry: RetrySchedule,
}

impl Pending for PendingPassword {
    fn deadline(&self) -> Instant {
        self.retry.next()
    }

    fn advance(mut self: Box<Self>, root: &Root, now: Instant) -> Started {
        Started::Finished(match self.edit.attempt(root) {
            Ok(Ok(())) => Outcome::Done(Done::default()),
            Ok(Err(_)) if !self.retry.is_expired(now) => {
                self.retry.postpone(now);
                return Started::Running(PendingEffect::new(self));
            }
            Ok(Err(holder)) => Outcome::Failed(FileError::from(holder).into()),
            Err(error) => Outcome::Failed(error.into()),
        })
    }
}

impl fmt::Debug for PendingPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingPassword").finish_non_exhaustive()
    }
}

/// Refuses what would be more than one user or line to a tool or the shadow file.
fn check(user: &str, password: &Secret) -> Result<(), Failure> {
    let is_name_byte = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'/' | b',');
    if user.is_empty()
        || user.len() > USER_MAX
        || user.starts_with('-')
        || !user.bytes().all(is_name_byte)
    {
        return Err(Failure::Refused(String::from("not a login name")));
    }
    let password = password.expose();
    if password.len() > PASSWORD_MAX {
        return Err(Failure::Refused(format!(
            "the password is longer than {PASSWORD_MAX} bytes"
        )));
    }
    if password
        .iter()
        .any(|byte| matches!(byte, b'\n' | b'\r' | 0))
        || core::str::from_utf8(password).is_err()
    {
        return Err(Failure::Refused(String::from(
            "the password holds a line break or is no text",
        )));
    }
    Ok(())
}

/// `chpasswd` goes through PAM or shadow-utils' own settings, so the guest decides about the kind of hash.
#[cfg(not(target_os = "freebsd"))]
fn tool(root: &Root, user: &str, password: &Secret) -> Option<Program> {
    let path = programs::find(root, "chpasswd")?;
    let mut line = Zeroizing::new(Vec::with_capacity(USER_MAX + PASSWORD_MAX + 2));
    line.extend_from_slice(user.as_bytes());
    line.push(b':');
    line.extend_from_slice(password.expose());
    line.push(b'\n');
    Some(Program {
        stdin: Some(Secret::from(line)),
        ..Program::new([path.as_str()], TOOL_TIMEOUT)
    })
}

/// pw(8), `-h 0`: reads the password from standard input.
#[cfg(target_os = "freebsd")]
fn tool(root: &Root, user: &str, password: &Secret) -> Option<Program> {
    let path = programs::find(root, "pw")?;
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 1));
    line.extend_from_slice(password.expose());
    line.push(b'\n');
    let argv = [path.as_str(), "usermod", "-n", user, "-h", "0"];
    Some(Program {
        stdin: Some(Secret::from(line)),
        ..Program::new(argv, TOOL_TIMEOUT)
    })
}

#[cfg(test)]
mod tests {
    use nova_agent_core::effect::{Change, Effect};

    use super::*;

    #[test]
    fn every_wait_ends_before_the_core_gives_it_up() {
        let step = Change::SetPassword {
            user: "root".into(),
            password: Secret::new(Vec::new()),
        };
        let core_timeout = Effect::Change(step).timeout();
        // A tool that hangs takes three seconds to be killed.
        assert!(TOOL_TIMEOUT + Duration::from_secs(3) < core_timeout);
        assert!(RETRY_LIMIT < core_timeout && RETRY_PAUSE < RETRY_LIMIT);
        let start = Instant::now();
        let retry = RetrySchedule::new(RETRY_LIMIT, RETRY_PAUSE);
        assert!(!retry.is_expired(start + RETRY_LIMIT / 2));
        assert!(retry.is_expired(start + RETRY_LIMIT * 2));
    }

    #[test]
    fn names_and_passwords_that_could_be_read_as_something_else_are_refused() {
        let secret = |text: &str| Secret::from(String::from(text));
        assert_eq!(check("root", &secret("p:a$s w\u{fc}rd\t")), Ok(()));
        assert_eq!(check("_apt-1.x", &secret("")), Ok(()));
        assert_eq!(
            check(&"x".repeat(USER_MAX), &secret(&"x".repeat(PASSWORD_MAX))),
            Ok(())
        );
        for user in [
            "",
            "-R",
            "root:x",
            "ro ot",
            "root\n",
            "../root",
            "m\u{fc}ller",
            &"x".repeat(USER_MAX + 1),
        ] {
            assert!(check(user, &secret("x")).is_err(), "{user:?}");
        }
        for password in ["a\nroot:b", "a\r", "a\0", &"x".repeat(PASSWORD_MAX + 1)] {
            assert!(check("root", &secret(password)).is_err());
        }
        assert!(check("root", &Secret::new(vec![0xff])).is_err());
    }
}
