//! Processes that do not outlive the tests.

use std::ffi::OsStr;
use std::process::Command;

/// A command whose process is killed when the thread that spawns it ends.
///
/// Dropping a guard is not enough: a test run that is killed drops nothing, and a daemon would stay behind.
#[must_use]
pub(crate) fn bound_to_thread(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    use std::thread;

    use super::*;

    #[test]
    fn a_process_ends_with_the_thread_that_spawned_it() {
        let spawn = || {
            let mut child = bound_to_thread("sh")
                .args(["-c", "echo; exec sleep 1000"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            // The signal is set before the program runs.
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            child
        };
        let mut child = thread::spawn(spawn).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
