//! A user of the guest who wants what is root's: `nova-attacker ROOT MARK`.
//!
//! It is started as root and is nobody before it does anything. Below ROOT it turns what it may write into traps, without a
//! pause: directories that become symlinks and back in one instant, names that are a file, a FIFO, a symlink to a file of
//! root's, a symlink to nothing, a directory, and names that the agent may want for its temporary files. It tells on
//! standard output when it has begun, everything with MARK in it that it could read, and, when its standard input ends, how
//! often it has set which trap.
#![deny(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::collections::VecDeque;
use std::error::Error;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{env, thread};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{fs::Gid, fs::Uid};

/// Nobody: there need not be an account of this number.
const NOBODY: u32 = 65534;

/// Names ahead of the agent's own that are kept occupied.
const AHEAD: u32 = 64;

static END: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(root), Some(mark), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: nova-attacker ROOT MARK".into());
    };
    let root = PathBuf::from(root);
    let mark = mark.into_string().map_err(|_| "the mark is no text")?;
    become_nobody()?;

    let [swaps, traps, looks, files] = [const { AtomicUsize::new(0) }; 4];
    prepare(&root)?;
    let mut follower = Follower::new(&root)?;
    println!("ready");
    thread::scope(|scope| {
        scope.spawn(|| until_the_end(&swaps, || swap_directories(&root)));
        scope.spawn(|| {
            let mut nth = 0;
            until_the_end(&traps, || {
                nth += 1;
                set_trap(&root, nth)
            });
        });
        scope.spawn(|| {
            let mut occupied = VecDeque::new();
            until_the_end(&looks, || {
                spy(&root, mark.as_bytes());
                occupy(&root, &mut occupied)
            });
        });
        scope.spawn(|| until_the_end(&files, || follower.follow(mark.as_bytes())));
        let _ = io::stdin().read_to_end(&mut Vec::new());
        END.store(true, Ordering::Relaxed);
    });
    println!("swaps {}", swaps.into_inner());
    println!("traps {}", traps.into_inner());
    println!("looks {}", looks.into_inner());
    println!("files {}", files.into_inner());
    Ok(())
}

/// Threads that are spawned later have the identity of the one that spawns them.
fn become_nobody() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    // Neither is there a way back.
    if set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok()
        || rustix::process::getuid() != user
    {
        return Err(io::Error::other("still root"));
    }
    Ok(())
}

/// Where a directory and a symlink to a directory of root's change places.
fn stages(root: &Path) -> [PathBuf; 2] {
    [root.join("home/user"), root.join("tmp")]
}

fn prepare(root: &Path) -> io::Result<()> {
    for stage in stages(root) {
        fs::create_dir(stage.join("door"))?;
        symlink("/etc", stage.join("way-in"))?;
    }
    Ok(())
}

/// Does it again and again; one that fails is not counted.
fn until_the_end(count: &AtomicUsize, mut act: impl FnMut() -> io::Result<()>) {
    while !END.load(Ordering::Relaxed) {
        if act().is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        thread::yield_now();
    }
}

fn swap_directories(root: &Path) -> io::Result<()> {
    for stage in stages(root) {
        rustix::fs::renameat_with(
            CWD,
            stage.join("door"),
            CWD,
            stage.join("way-in"),
            RenameFlags::EXCHANGE,
        )?;
    }
    Ok(())
}

/// Puts the next kind of trap at the name that the agent is asked to write.
fn set_trap(root: &Path, nth: usize) -> io::Result<()> {
    let directory = root.join("tmp");
    let (trap, made) = (directory.join("trap"), directory.join(".made"));
    let _ = fs::remove_file(&made);
    let _ = fs::remove_dir(&made);
    match nth % 8 {
        0 => fs::write(&made, "mine")?,
        1 => symlink("/etc/private", &made)?,
        2 => symlink("/etc/shadow", &made)?,
        3 => symlink("/etc/made-by-a-user", &made)?,
        4 => rustix::fs::mknodat(CWD, &made, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?,
        5 => symlink("trap", &made)?,
        6 => {
            fs::write(directory.join("mine"), "mine")?;
            fs::hard_link(directory.join("mine"), &made)?;
        }
        _ => {
            fs::create_dir(&made)?;
            let _ = fs::remove_file(&trap);
        }
    }
    let _ = fs::remove_dir(&trap);
    // Not while a file of root's is there: the directory is sticky.
    fs::rename(&made, &trap)
}

/// Puts symlinks where the temporary files might be that follow those that can be seen.
fn occupy(root: &Path, occupied: &mut VecDeque<PathBuf>) -> io::Result<()> {
    let directory = root.join("tmp");
    for entry in fs::read_dir(&directory)?.filter_map(Result::ok) {
        let Some(name) = entry
            .file_name()
            .into_string()
            .ok()
            .filter(|name| name.contains(".nova-"))
        else {
            continue;
        };
        let Some((front, number)) = name.rsplit_once('-') else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        if occupied.iter().any(|path| path.ends_with(&name)) {
            continue;
        }
        for ahead in 1..=AHEAD {
            let path = directory.join(format!("{front}-{}", number.wrapping_add(ahead)));
            if symlink("/etc/private", &path).is_ok() {
                occupied.push_back(path);
            }
        }
        while occupied.len() > 4 * AHEAD as usize {
            let _ = occupied.pop_front().map(fs::remove_file);
        }
    }
    Ok(())
}

/// Reads what can be read.
fn spy(root: &Path, mark: &[u8]) {
    let backups = root.join("var/lib/nova-agent/backup");
    for directory in [
        root.join("etc"),
        root.join("tmp"),
        root.join("var/lib/nova-agent"),
        backups,
    ] {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            tell_if_marked(&path, open(&path), mark);
        }
    }
}

/// Opens every file in the moment in which it is made, and reads it when it has its content.
struct Follower {
    inotify: OwnedFd,
    directories: Vec<(i32, PathBuf)>,
    opened: VecDeque<(PathBuf, Option<File>)>,
}

impl Follower {
    /// More than the agent makes until one of them has its content.
    const OPENED_MAX: usize = 16;

    fn new(root: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK)?;
        let watch = |name| {
            let directory = root.join(name);
            let number = inotify::add_watch(
                &inotify,
                &directory,
                WatchFlags::CREATE | WatchFlags::MOVED_TO,
            )?;
            Ok((number, directory))
        };
        let directories = ["etc", "tmp"]
            .into_iter()
            .map(watch)
            .collect::<io::Result<_>>()?;
        Ok(Self {
            inotify,
            directories,
            opened: VecDeque::new(),
        })
    }

    fn follow(&mut self, mark: &[u8]) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut is_something_new = false;
        // Until there is none any more: what was read with one event and is not looked at is lost.
        while let Ok(event) = events.next() {
            let directory = self
                .directories
                .iter()
                .find(|(number, _)| *number == event.wd());
            let name = event.file_name().map(CStr::to_str);
            if let (Some((_, directory)), Some(Ok(name))) = (directory, name) {
                let path = directory.join(name);
                let file = open(&path);
                self.opened.push_back((path, file));
                is_something_new = true;
            }
        }
        while self.opened.len() > Self::OPENED_MAX {
            self.opened.pop_front();
        }
        for (path, file) in &mut self.opened {
            if tell_if_marked(path, file.as_mut(), mark) {
                *file = None;
            }
        }
        if is_something_new {
            Ok(())
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }
}

fn open(path: &Path) -> Option<File> {
    // Does not wait for who writes into a FIFO.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()
}

fn tell_if_marked(path: &Path, file: Option<impl Read + Seek>, mark: &[u8]) -> bool {
    let Some(mut file) = file else { return false };
    let mut content = Vec::new();
    let _ = file.rewind();
    let _ = file.read_to_end(&mut content);
    let is_marked = content.windows(mark.len()).any(|window| window == mark);
    if is_marked {
        println!("read {}", path.display());
    }
    is_marked
}
