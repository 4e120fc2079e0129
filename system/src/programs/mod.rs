//! Running programs of the guest, or saying that a sandbox would have run them.

mod child;
mod tail;

use std::io;
use std::path::PathBuf;
use std::process::Command;

use nova_agent_core::effect::{Failure, GuestPath, Program};
use rustix::fs::FileType;

pub use self::child::{Child, Sources};
use crate::root::{Follow, Root, Trust, file_type};
use crate::sandbox::{CarriedOut, Record};

/// Where programs are looked up, and what they get as their `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What became of the wish to run a program.
#[derive(Debug)]
pub(crate) enum Launched {
    /// It runs.
    Running(Box<Child>),
    /// It is over: in a sandbox, where nothing ran.
    Finished(Result<(), Failure>),
}

/// Starts a program. In a sandbox, starts its stand-in, whether or not the program itself exists there, or nothing.
pub(crate) fn launch(root: &Root, program: Program) -> Launched {
    match try_launch(root, program) {
        Ok(launched) => launched,
        Err(failure) => Launched::Finished(Err(failure)),
    }
}

/// Looks a program up by its name in the fixed path.
pub(crate) fn find(root: &Root, name: &str) -> Option<GuestPath> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    PATH.split(':')
        .filter_map(|directory| GuestPath::try_from(directory).ok()?.join(name).ok())
        .find(|path| is_program(root, path))
}

/// In a sandbox anything that is not a directory stands for a program, even a symlink that leads nowhere: trees for tests
/// rarely have whole programs in them.
fn is_program(root: &Root, path: &GuestPath) -> bool {
    let follow = if root.is_sandbox() { Follow::No } else { Follow::Yes };
    let Ok(place) = root.place(path, follow, Trust::Any) else { return false };
    let Ok(stat) = place.stat() else { return false };
    if root.is_sandbox() {
        return file_type(&stat) != FileType::Directory;
    }
    file_type(&stat) == FileType::RegularFile
        && rustix::fs::accessat(
            &place.directory,
            &place.name,
            rustix::fs::Access::EXEC_OK,
            rustix::fs::AtFlags::empty(),
        )
        .is_ok()
}

fn try_launch(root: &Root, program: Program) -> Result<Launched, Failure> {
    let Some(name) = program.argv.first() else {
        return Err(Failure::Refused(String::from("a program without a name")));
    };
    let found = if name.starts_with('/') {
        GuestPath::try_from(name.as_str()).ok().filter(|path| is_program(root, path))
    } else {
        find(root, name)
    };
    if !root.is_sandbox() {
        let path = found.ok_or(Failure::NotFound)?;
        return spawn(PathBuf::from(path.as_str()), PathBuf::from("/"), program);
    }
    let stand_in = root.stand_in(name.rsplit('/').next().unwrap_or(name));
    let carried_out = match (&stand_in, &found) {
        (Some(_), _) => CarriedOut::StandIn,
        (None, Some(_)) => CarriedOut::Assumed,
        (None, None) => CarriedOut::NotFound,
    };
    root.record(&Record::run(&program, carried_out))?;
    match (stand_in, carried_out) {
        (Some(path), _) => spawn(path, root.base().to_path_buf(), program),
        (None, CarriedOut::NotFound) => Err(Failure::NotFound),
        (None, CarriedOut::Assumed | CarriedOut::StandIn) => Ok(Launched::Finished(Ok(()))),
    }
}

fn spawn(path: PathBuf, directory: PathBuf, program: Program) -> Result<Launched, Failure> {
    let mut command = Command::new(&path);
    command
        .args(program.argv.iter().skip(1))
        .current_dir(directory)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .env("HOME", "/root")
        .envs(program.environment.iter().map(|(name, value)| (name, value)));
    match Child::spawn(command, program.stdin, program.timeout, program.accept) {
        Ok(child) => Ok(Launched::Running(Box::new(child))),
        // The program was there: it is its interpreter that is not.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::Io(format!("run {}: its interpreter or loader does not exist", path.display())))
        }
        Err(error) => Err(Failure::Io(format!("run {}: {error}", path.display()))),
    }
}
