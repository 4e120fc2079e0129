//! Runs programs of the guest, or records that a sandbox would have run them.

mod child;
mod exit;
mod tail;

use std::io;
use std::path::PathBuf;
use std::process::Command;

use nova_agent_core::effect::{Done, Failure, GuestPath, Outcome, Program};
use nova_agent_core::secret::Secret;
use rustix::fs::FileType;

use self::child::Child;
use crate::pending::{PendingEffect, Started};
use crate::root::{Access, LastSymlink, Root, file_type};
use crate::sandbox::{CarriedOut, Record};

/// Where programs are looked up, and what they get as their `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts a program. In a sandbox, starts its stand-in, whether or not the program itself exists there, or nothing.
///
/// Discards the output if it contains `conceal`.
pub(crate) fn launch(root: &Root, program: Program, conceal: Option<Secret>) -> Started {
    match try_launch(root, program, conceal) {
        Ok(Some(child)) => Started::Running(PendingEffect::new(Box::new(child))),
        Ok(None) => Started::Finished(Outcome::Done(Done::default())),
        Err(failure) => Started::Finished(Outcome::Failed(failure)),
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
    let follow = if root.is_sandbox() {
        LastSymlink::Keep
    } else {
        LastSymlink::Follow
    };
    let Ok(place) = root.place(path, follow, Access::Read) else {
        return false;
    };
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

/// `None` if nothing is to run in a sandbox.
fn try_launch(
    root: &Root,
    program: Program,
    conceal: Option<Secret>,
) -> Result<Option<Child>, Failure> {
    let Some(name) = program.argv.first() else {
        return Err(Failure::Refused(String::from("a program without a name")));
    };
    let found = if name.starts_with('/') {
        GuestPath::try_from(name.as_str())
            .ok()
            .filter(|path| is_program(root, path))
    } else {
        find(root, name)
    };
    if !root.is_sandbox() {
        let path = found.ok_or(Failure::NotFound)?;
        return spawn(
            PathBuf::from(path.as_str()),
            PathBuf::from("/"),
            program,
            conceal,
        )
        .map(Some);
    }
    let stand_in = root.stand_in(name.rsplit('/').next().unwrap_or(name));
    let carried_out = match (&stand_in, &found) {
        (Some(_), _) => CarriedOut::StandIn,
        (None, Some(_)) => CarriedOut::Assumed,
        (None, None) => CarriedOut::NotFound,
    };
    root.record(&Record::run(&program, carried_out))?;
    match (stand_in, carried_out) {
        (Some(path), _) => spawn(path, root.base().to_path_buf(), program, conceal).map(Some),
        (None, CarriedOut::NotFound) => Err(Failure::NotFound),
        (None, CarriedOut::Assumed | CarriedOut::StandIn) => {
            tracing::debug!("did not run {name}, as this is a sandbox");
            Ok(None)
        }
    }
}

fn spawn(
    path: PathBuf,
    directory: PathBuf,
    program: Program,
    conceal: Option<Secret>,
) -> Result<Child, Failure> {
    let mut command = Command::new(&path);
    command
        .args(program.argv.iter().skip(1))
        .current_dir(directory)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .env("HOME", "/root")
        .envs(
            program
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
    Child::spawn(
        command,
        program.stdin,
        conceal,
        program.timeout,
        program.accept,
    )
    .map_err(|error| {
        // The program was there: if something is not, it is its interpreter.
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let what = if is_missing {
            String::from("its interpreter or loader does not exist")
        } else {
            error.to_string()
        };
        Failure::Io(format!("run {}: {what}", path.display()))
    })
}
