//! Steps that change files, on a real file system.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may fail like tests"
)]

mod guest;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use guest::{Guest, is_root, path, write};
use nova_agent_core::effect::{Change, Effect, ExistingMode, Failure, FileMode, Outcome};
use nova_agent_system::runtime::{Root, System};

const BACKUPS: &str = "/var/lib/nova-agent/backup";

/// The only copy in the backup of a path.
fn backup(guest: &Guest, path: &str) -> String {
    let times = guest.names(BACKUPS);
    assert_eq!(times.len(), 1, "{times:?}");
    format!("{BACKUPS}/{}{path}", times[0])
}

fn refused(result: Result<Option<Change>, Failure>) -> String {
    match result {
        Err(Failure::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_new_file_has_its_mode_and_is_undone_by_removal() {
    let guest = Guest::new();
    guest.directory("/etc");
    let undo = guest
        .step(write("/etc/new", "one\n", 0o640, ExistingMode::Keep))
        .unwrap();
    assert_eq!(
        (guest.read("/etc/new").as_str(), guest.mode("/etc/new")),
        ("one\n", 0o640)
    );
    assert_eq!(
        undo,
        Some(Change::RemoveFile {
            path: path("/etc/new")
        })
    );
    assert_eq!(guest.names("/etc"), ["new"]);
    guest.step(undo.unwrap()).unwrap();
    assert!(guest.names("/etc").is_empty());
}

#[test]
fn a_replaced_file_keeps_mode_and_owner_and_comes_back_by_its_undo() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "old");
    if is_root() {
        chown(guest.host("/etc/hosts"), Some(1234), Some(4321)).unwrap();
    }
    guest.chmod("/etc/hosts", 0o604);
    let before = guest.host("/etc/hosts").metadata().unwrap();
    let same = |file: &str| {
        let now = guest.host(file).metadata().unwrap();
        assert_eq!(
            (now.uid(), now.gid(), now.mode()),
            (before.uid(), before.gid(), before.mode()),
            "{file}"
        );
    };

    let undo = guest.write("/etc/hosts", "new").unwrap().unwrap();
    assert_eq!(guest.read("/etc/hosts"), "new");
    same("/etc/hosts");
    let copy = backup(&guest, "/etc/hosts");
    assert_eq!(
        undo,
        Change::RestoreFile {
            path: path("/etc/hosts"),
            backup: path(&copy)
        }
    );
    assert_eq!(guest.read(&copy), "old");
    same(&copy);
    assert_eq!(
        (guest.mode("/var/lib/nova-agent"), guest.mode(BACKUPS)),
        (0o700, 0o700)
    );
    assert_eq!(guest.mode(copy.trim_end_matches("/hosts")), 0o700);

    guest.chmod("/etc/hosts", 0o600);
    guest.step(undo).unwrap();
    assert_eq!(guest.read("/etc/hosts"), "old");
    same("/etc/hosts");
    assert_eq!(guest.names("/etc"), ["hosts"]);
}

#[test]
fn a_label_is_kept_where_labels_can_be_set() {
    const ATTRIBUTE: &str = "security.selinux";

    let guest = Guest::new();
    guest.file("/etc/hosts", "old");
    // Only root may, and not on every file system: the file has none then, and neither may the new one.
    let flags = rustix::fs::XattrFlags::empty();
    let _ = rustix::fs::setxattr(
        guest.host("/etc/hosts"),
        ATTRIBUTE,
        b"system_u:object_r:net_conf_t:s0\0",
        flags,
    );
    let label = |at: &str| {
        let mut label = vec![0; 256];
        let len = rustix::fs::getxattr(guest.host(at), ATTRIBUTE, label.as_mut_slice()).ok()?;
        Some(label[..len].to_vec())
    };
    let before = label("/etc/hosts");
    let undo = guest.write("/etc/hosts", "new").unwrap().unwrap();
    assert_eq!(label("/etc/hosts"), before);
    guest.step(undo).unwrap();
    assert_eq!(
        (label("/etc/hosts"), guest.read("/etc/hosts").as_str()),
        (before, "old")
    );
}

#[test]
fn the_mode_of_an_existing_file_is_replaced_if_that_is_asked_for() {
    let guest = Guest::new();
    guest.file("/etc/key", "same");
    guest.chmod("/etc/key", 0o644);
    assert!(
        guest
            .step(write("/etc/key", "same", 0o600, ExistingMode::Replace))
            .unwrap()
            .is_some()
    );
    assert_eq!(guest.mode("/etc/key"), 0o600);
    assert_eq!(
        guest
            .step(write("/etc/key", "same", 0o600, ExistingMode::Replace))
            .unwrap(),
        None
    );
}

#[test]
fn equal_content_touches_nothing_and_makes_no_backup() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "same");
    let inode = guest.host("/etc/hosts").metadata().unwrap().ino();
    assert_eq!(guest.write("/etc/hosts", "same").unwrap(), None);
    assert_eq!(guest.host("/etc/hosts").metadata().unwrap().ino(), inode);
    assert!(!guest.host("/var").exists());
}

#[test]
fn several_changes_of_a_file_have_a_backup_each() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "0");
    let undos: Vec<Change> = (1..6)
        .map(|n| guest.write("/etc/hosts", &n.to_string()).unwrap().unwrap())
        .collect();
    for (n, undo) in undos.into_iter().enumerate().rev() {
        guest.step(undo).unwrap();
        assert_eq!(guest.read("/etc/hosts"), n.to_string());
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_refused_unless_it_is_sticky() {
    let guest = Guest::new();
    guest.directory("/srv/open/inner");
    for mode in [0o757, 0o777] {
        guest.chmod("/srv/open", mode);
        assert_eq!(
            refused(guest.write("/srv/open/f", "x")),
            "directory /srv/open is writable for others than root"
        );
        assert!(refused(guest.write("/srv/open/inner/f", "x")).contains("/srv/open "));
        assert!(
            refused(guest.step(Change::MakeDirectory {
                path: path("/srv/open/d"),
                mode: FileMode::PUBLIC_DIRECTORY
            }))
            .contains("/srv/open ")
        );
        assert!(
            refused(guest.step(Change::RemoveFile {
                path: path("/srv/open/f")
            }))
            .contains("/srv/open ")
        );
        assert!(
            refused(guest.step(Change::Symlink {
                path: path("/srv/open/l"),
                target: "x".into()
            }))
            .contains("/srv/open ")
        );
    }
    assert_eq!(guest.names("/srv/open"), ["inner"]);
    guest.chmod("/srv/open", 0o1777);
    guest.write("/srv/open/f", "x").unwrap();
    assert_eq!(guest.read("/srv/open/f"), "x");
}

/// On the machine itself, where even the tester is another user, unless it is root, who gives everything away first.
#[test]
fn what_belongs_to_other_users_is_refused() {
    let system = System::new(Root::guest().unwrap());
    let refuse = |at: &Path| match system.perform(Effect::Change(write(
        at.to_str().unwrap(),
        "x",
        0o644,
        ExistingMode::Keep,
    ))) {
        Outcome::Failed(Failure::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    };
    let give_away = |at: &Path| {
        if is_root() {
            lchown(at, Some(1000), Some(1000)).unwrap();
        }
    };
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    give_away(directory.path());
    let name = directory.path().to_str().unwrap();
    assert_eq!(
        refuse(&directory.path().join("f")),
        format!("directory {name} is not owned by root")
    );

    // In a sticky directory everybody may create files, and would be handed the content.
    let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    give_away(file.path());
    let name = file.path().to_str().unwrap();
    assert_eq!(
        refuse(file.path()),
        format!("{name} belongs to another user in a shared directory")
    );

    let link = tempfile::Builder::new()
        .make_in("/tmp", |path| std::os::unix::fs::symlink("/etc", path))
        .unwrap();
    give_away(link.path());
    let name = link.path().to_str().unwrap();
    assert_eq!(
        refuse(&link.path().join("f")),
        format!("symlink {name} is not owned by root")
    );
}

#[test]
fn a_file_that_somebody_may_have_linked_from_elsewhere_is_refused() {
    let guest = Guest::new();
    guest.directory("/tmp");
    guest.chmod("/tmp", 0o1777);
    guest.directory("/usr");
    guest.file("/usr/tool", "old");
    // The kernel takes the set-uid bit from a file that an ordinary user changes.
    let mode = if is_root() { 0o4755 } else { 0o755 };
    guest.chmod("/usr/tool", mode);
    fs::hard_link(guest.host("/usr/tool"), guest.host("/tmp/tool")).unwrap();
    let result = guest.step(write("/tmp/tool", "new", 0o644, ExistingMode::Keep));
    assert_eq!(
        refused(result),
        "/tmp/tool has several names and is in a shared directory"
    );
    // Where nobody else can make links, it is its owner who wanted two names.
    guest
        .step(write("/usr/tool", "new", 0o644, ExistingMode::Keep))
        .unwrap();
    assert_eq!(
        (guest.read("/usr/tool").as_str(), guest.mode("/usr/tool")),
        ("new", mode)
    );
}

#[test]
fn symlinks_on_the_way_are_followed_inside_the_sandbox_only() {
    let guest = Guest::new();
    guest.directory("/usr/lib/real");
    guest.link("/etc/absolute", "/usr/lib/real");
    guest.link("/etc/relative", "../usr/lib/../lib/real");
    guest.link("/etc/above", "../../../../../../usr/lib/real");
    for (nth, link) in ["absolute", "relative", "above"].iter().enumerate() {
        guest.write(&format!("/etc/{link}/{nth}"), link).unwrap();
    }
    assert_eq!(guest.names("/usr/lib/real"), ["0", "1", "2"]);

    let outside = tempfile::tempdir().unwrap();
    guest.link("/etc/outside", outside.path().to_str().unwrap());
    assert!(
        matches!(guest.write("/etc/outside/f", "x"), Err(Failure::Io(text)) if text.contains("does not exist"))
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    guest.link("/etc/a", "b");
    guest.link("/etc/b", "a");
    assert!(refused(guest.write("/etc/a/f", "x")).starts_with("too many symlinks"));
}

#[test]
fn a_symlink_or_anything_that_is_no_file_at_the_end_is_refused() {
    let guest = Guest::new();
    guest.file("/etc/real", "old");
    guest.link("/etc/link", "real");
    guest.directory("/etc/directory");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        guest.host("/etc/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(
        refused(guest.write("/etc/link", "x")),
        "/etc/link is a symlink"
    );
    assert_eq!(
        refused(guest.write("/etc/directory", "x")),
        "/etc/directory is a directory"
    );
    assert_eq!(
        refused(guest.write("/etc/fifo", "x")),
        "/etc/fifo is not a regular file"
    );
    assert_eq!(refused(guest.write("/", "x")), "/ is a directory");
    assert_eq!(guest.read("/etc/real"), "old");
    assert!(matches!(
        guest.write("/missing/file", "x"),
        Err(Failure::Io(_))
    ));
}

/// Somebody else swaps a directory on the way for a symlink, again and again, while files are written.
#[test]
fn swapping_a_directory_for_a_symlink_leads_nowhere_else() {
    let guest = Guest::new();
    guest.directory("/srv/target");
    guest.directory("/forbidden");
    guest.chmod("/forbidden", 0o777);
    guest.link("/srv/evil", "/forbidden");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // By a failure as well: the scope waits for the thread.
        let _stops_at_end = SetWhenDropped(&stop);
        scope.spawn(|| {
            let [target, aside, evil] =
                ["/srv/target", "/srv/aside", "/srv/evil"].map(|path| guest.host(path));
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&target, &aside).unwrap();
                fs::rename(&evil, &target).unwrap();
                fs::rename(&target, &evil).unwrap();
                fs::rename(&aside, &target).unwrap();
            }
        });
        let mut written = 0;
        for n in 0..2_000 {
            match guest.write("/srv/target/file", &n.to_string()) {
                Ok(_) => written += 1,
                Err(Failure::Refused(text)) => assert!(text.contains("/forbidden"), "{text}"),
                Err(Failure::Io(text)) => assert!(text.contains("does not exist"), "{text}"),
                Err(other) => panic!("{other:?}"),
            }
            if written > 50 {
                break;
            }
        }
    });
    assert!(guest.names("/forbidden").is_empty());
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "old");
    // A directory where the copy should go makes the backup fail after everything was checked.
    guest.file("/var/lib/nova-agent", "in the way");
    assert!(guest.write("/etc/hosts", "new").is_err());
    assert_eq!(guest.read("/etc/hosts"), "old");
    assert_eq!(guest.names("/etc"), ["hosts"]);
}

/// Runs itself in a mount namespace: the machine must not see the mount.
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    const SELF: &str = "a_full_disk_leaves_the_old_file_and_nothing_else";
    const INSIDE: &str = "NOVA_AGENT_TEST_FULL_DISK";
    const SCRIPT: &str =
        "mount -t tmpfs -o size=64k,mode=755 tmpfs \"$1/etc\" && exec \"$2\" --exact \"$3\"";

    if let Some(sandbox) = std::env::var_os(INSIDE) {
        let etc = Path::new(&sandbox).join("etc");
        fs::write(etc.join("hosts"), "old").unwrap();
        let system = System::new(Root::sandbox(sandbox.as_ref()).unwrap());
        let step = write(
            "/etc/hosts",
            &"x".repeat(256 * 1024),
            0o644,
            ExistingMode::Keep,
        );
        match system.perform(Effect::Change(step)) {
            Outcome::Failed(Failure::Io(text)) => {
                assert!(text.contains("No space left on device"), "{text}")
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_to_string(etc.join("hosts")).unwrap(), "old");
        assert_eq!(fs::read_dir(etc).unwrap().count(), 1);
        return;
    }
    let guest = Guest::new();
    guest.directory("/etc");
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ])
        .arg(guest.host("/"))
        .arg(std::env::current_exe().unwrap())
        .arg(SELF)
        .env(INSIDE, guest.host("/"))
        .output()
        .expect("unshare is needed for this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn what_an_interrupted_run_left_is_removed_and_nothing_else() {
    let guest = Guest::new();
    // Process ids end at 4194304 on Linux (`PID_MAX_LIMIT`).
    guest.file("/etc/.hosts.nova-4194999-0badcafe-3", "half");
    guest.file("/etc/.hosts.nova-1-0badcafe-3", "of a process that lives");
    guest.file("/etc/hosts.nova-4194999-0badcafe-3", "not hidden");
    guest.file("/etc/.hosts.nova-agent", "not ours");
    guest.write("/etc/other", "x").unwrap();
    assert_eq!(
        guest.names("/etc"),
        [
            ".hosts.nova-1-0badcafe-3",
            ".hosts.nova-agent",
            "hosts.nova-4194999-0badcafe-3",
            "other"
        ]
    );
}

#[test]
fn what_an_interrupted_run_left_is_removed_whoever_the_file_was_to_belong_to() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let left = "/etc/.hosts.nova-4194999-0badcafe-3";
    guest.file(left, "half");
    chown(guest.host(left), Some(1234), Some(5678)).unwrap();
    guest.write("/etc/other", "x").unwrap();
    assert_eq!(guest.names("/etc"), ["other"]);

    // Where everybody makes files, names like ours prove nothing.
    guest.directory("/tmp");
    guest.chmod("/tmp", 0o1777);
    let theirs = "/tmp/.hosts.nova-4194999-0badcafe-3";
    guest.file(theirs, "half");
    chown(guest.host(theirs), Some(1234), Some(5678)).unwrap();
    guest.write("/tmp/other", "x").unwrap();
    assert_eq!(
        guest.names("/tmp"),
        [".hosts.nova-4194999-0badcafe-3", "other"]
    );
}

#[test]
fn only_the_latest_backups_are_kept() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "old");
    for n in 0..30 {
        guest.file(
            &format!("{BACKUPS}/20200101T0000{n:02}Z/etc/deep/hosts"),
            "x",
        );
        guest.link(&format!("{BACKUPS}/20200101T0000{n:02}Z/etc/link"), "/etc");
    }
    guest.file(&format!("{BACKUPS}/notes"), "mine");
    guest.write("/etc/hosts", "new").unwrap();
    let names = guest.names(BACKUPS);
    assert_eq!(names.len(), 21, "{names:?}");
    assert_eq!(
        (names[0].as_str(), names[20].as_str()),
        ("20200101T000011Z", "notes")
    );
    assert!(guest.host("/etc/hosts").exists());
}

#[test]
fn there_are_never_more_backups_than_the_bound_however_young() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "old");
    // Of a time that has not come yet, so that none of them is old.
    for n in 0..300 {
        guest.file(&format!("{BACKUPS}/29990101T000000Z-{n:03}/etc/hosts"), "x");
    }
    guest.write("/etc/hosts", "new").unwrap();
    let names = guest.names(BACKUPS);
    assert_eq!(names.len(), 256 + 1, "{names:?}");
    assert_eq!(names[1], "29990101T000000Z-044");
    assert_eq!(
        guest.read(&format!("{BACKUPS}/{}/etc/hosts", names[0])),
        "old",
        "its own is never among them"
    );
}

#[test]
fn a_file_that_is_too_large_for_a_backup_is_not_replaced() {
    const LARGEST: u64 = 64 * 1024 * 1024;
    let guest = Guest::new();
    guest.file("/etc/large", "");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(guest.host("/etc/large"))
        .unwrap();
    file.set_len(LARGEST + 1).unwrap();
    for step in [
        write("/etc/large", "new", 0o644, ExistingMode::Keep),
        Change::RemoveFile {
            path: path("/etc/large"),
        },
    ] {
        let Err(Failure::Io(text)) = guest.step(step) else {
            panic!("not refused")
        };
        assert!(text.contains("larger than 67108864 bytes"), "{text}");
        assert_eq!(
            guest.host("/etc/large").metadata().unwrap().len(),
            LARGEST + 1
        );
        assert_eq!(guest.names("/etc"), ["large"]);
    }
    file.set_len(LARGEST).unwrap();
    guest.write("/etc/large", "new").unwrap();
    assert_eq!(guest.read("/etc/large"), "new");
}

#[test]
fn a_file_that_changes_too_often_in_a_second_is_left_alone() {
    let guest = Guest::new();
    guest.file("/etc/hosts", "old");
    guest.write("/etc/hosts", "new").unwrap();
    let day = &guest.names(BACKUPS)[0][..9];
    // Every copy that there may be in each of the next seconds.
    let second: usize = guest.names(BACKUPS)[0][9..15].parse().unwrap();
    for time in (second..second + 70).filter(|time| time % 100 < 60 && time / 100 % 100 < 60) {
        for nth in 0..100 {
            let name = if nth == 0 {
                format!("{day}{time:06}Z")
            } else {
                format!("{day}{time:06}Z-{nth}")
            };
            guest.file(&format!("{BACKUPS}/{name}/etc/hosts"), "x");
        }
    }
    guest.file("/etc/other", "old");
    let text = refused(guest.write("/etc/hosts", "newer"));
    assert_eq!(text, "more than 100 changes of /etc/hosts in a second");
    assert_eq!(
        (guest.read("/etc/hosts").as_str(), guest.names("/etc").len()),
        ("new", 2)
    );
}

#[test]
fn removing_moves_a_file_or_symlink_into_the_backup() {
    let guest = Guest::new();
    guest.file("/etc/file", "content");
    guest.link("/etc/link", "/nowhere");
    guest.directory("/etc/directory");
    let undo_file = guest
        .step(Change::RemoveFile {
            path: path("/etc/file"),
        })
        .unwrap()
        .unwrap();
    let undo_link = guest
        .step(Change::RemoveFile {
            path: path("/etc/link"),
        })
        .unwrap()
        .unwrap();
    assert_eq!(guest.names("/etc"), ["directory"]);
    assert_eq!(
        guest
            .step(Change::RemoveFile {
                path: path("/etc/file")
            })
            .unwrap(),
        None
    );
    assert_eq!(
        guest
            .step(Change::RemoveFile {
                path: path("/missing/file")
            })
            .unwrap(),
        None
    );
    assert_eq!(
        refused(guest.step(Change::RemoveFile {
            path: path("/etc/directory")
        })),
        "/etc/directory is not a file"
    );
    guest.step(undo_file).unwrap();
    guest.step(undo_link).unwrap();
    assert_eq!(guest.read("/etc/file"), "content");
    assert_eq!(
        fs::read_link(guest.host("/etc/link")).unwrap().to_str(),
        Some("/nowhere")
    );
}

#[test]
fn a_symlink_replaces_a_file_and_the_undo_brings_it_back() {
    let guest = Guest::new();
    guest.file("/etc/localtime", "data");
    let link = || Change::Symlink {
        path: path("/etc/localtime"),
        target: "../usr/zone".into(),
    };
    let undo = guest.step(link()).unwrap().unwrap();
    assert_eq!(
        fs::read_link(guest.host("/etc/localtime"))
            .unwrap()
            .to_str(),
        Some("../usr/zone")
    );
    assert_eq!(guest.step(link()).unwrap(), None);
    guest.step(undo).unwrap();
    assert_eq!(guest.read("/etc/localtime"), "data");

    let undo = guest
        .step(Change::Symlink {
            path: path("/etc/new"),
            target: "x".into(),
        })
        .unwrap();
    assert_eq!(
        undo,
        Some(Change::RemoveFile {
            path: path("/etc/new")
        })
    );
    guest.directory("/etc/directory");
    assert!(
        guest
            .step(Change::Symlink {
                path: path("/etc/directory"),
                target: "x".into()
            })
            .is_err()
    );
}

#[test]
fn directories_are_made_and_removed_only_when_empty() {
    let guest = Guest::new();
    guest.directory("/etc");
    let make = |at: &str| {
        guest.step(Change::MakeDirectory {
            path: path(at),
            mode: FileMode::new(0o2775),
        })
    };
    let remove = |at: &str| guest.step(Change::RemoveDirectory { path: path(at) });
    let undo = make("/etc/net").unwrap();
    assert_eq!(
        (undo, guest.mode("/etc/net")),
        (
            Some(Change::RemoveDirectory {
                path: path("/etc/net")
            }),
            0o2775
        )
    );
    guest.chmod("/etc/net", 0o755);
    assert_eq!(make("/etc/net").unwrap(), None);
    guest.link("/etc/link", "net");
    assert_eq!(make("/etc/link").unwrap(), None);
    assert_eq!(make("/").unwrap(), None);
    guest.file("/etc/file", "");
    assert_eq!(refused(make("/etc/file")), "/etc/file is not a directory");
    assert!(make("/missing/net").is_err());

    guest.file("/etc/net/file", "");
    assert_eq!(remove("/etc/net").unwrap(), None);
    assert!(guest.host("/etc/net/file").exists());
    fs::remove_file(guest.host("/etc/net/file")).unwrap();
    let undo = remove("/etc/net").unwrap();
    assert_eq!(
        undo,
        Some(Change::MakeDirectory {
            path: path("/etc/net"),
            mode: FileMode::PUBLIC_DIRECTORY
        })
    );
    assert_eq!(remove("/etc/net").unwrap(), None);
    assert_eq!(remove("/missing/net").unwrap(), None);
    assert_eq!(refused(remove("/etc/file")), "/etc/file is not a directory");
    assert_eq!(refused(remove("/etc/link")), "/etc/link is not a directory");
}

#[test]
fn a_long_name_still_has_room_for_a_temporary_one() {
    let guest = Guest::new();
    guest.directory("/etc");
    let name = format!("/etc/{}", "n".repeat(255));
    guest.write(&name, "one").unwrap();
    guest.write(&name, "two").unwrap();
    assert_eq!(guest.read(&name), "two");
}
