//! `plan`: what a reset of the network would change, shown and not done.

use std::path::Path;
use std::process::{Command, Output};

use nova_agent_tests::fixture::{Entry, Fixture, Tree};
use nova_agent_tests::host::Server;

use super::everywhere;
use crate::RUNTIME;

#[test]
fn the_plan_for_every_guest_is_shown_and_changes_nothing() {
    for fixture in Fixture::all() {
        let directory = tempfile::tempdir().unwrap();
        fixture.unpack(directory.path()).unwrap();
        let root = directory.path().join("before");
        let before = Tree::read(&root);
        let output = plan(&root, &[]);
        let (shown, complaint) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(Tree::read(&root).differences(&before), "", "{fixture}");

        let effects = fixture.plan();
        if let Some(refusal) = effects.strip_prefix("refused: ") {
            let expected = format!("nova-agent: network not changed: {refusal}");
            assert_eq!(
                (output.status.code(), shown, complaint),
                (Some(1), String::new(), expected),
                "{fixture}"
            );
            continue;
        }
        assert_eq!(
            (output.status.code(), complaint.as_str()),
            (Some(0), ""),
            "{fixture}"
        );
        for (path, entry) in &fixture.after().0 {
            let line = match entry {
                Entry::Directory(_) => continue,
                Entry::File { .. } => format!("\n+++ b/{path}\n"),
                Entry::Symlink(target) => format!("\nlink /{path} to {target}\n"),
            };
            let mode = format!(" of /{path}\n");
            assert!(
                shown.contains(&line) || shown.contains(&mode),
                "{fixture}: {line}{shown}"
            );
        }
        let of_effects = |kind: &str| -> Vec<&str> {
            effects
                .lines()
                .filter(|line| line.starts_with(kind))
                .collect()
        };
        let of_shown = |kind: &str| -> Vec<&str> {
            shown
                .lines()
                .filter(|line| line.starts_with(kind))
                .collect()
        };
        assert_eq!(of_shown("error: "), of_effects("error: "), "{fixture}");
        assert_eq!(of_shown("warning: "), of_effects("warning: "), "{fixture}");
        assert_eq!(
            of_shown("run ").len(),
            of_effects("step: `").len(),
            "{fixture}"
        );
        assert_eq!(
            of_shown("remove /").len(),
            of_effects("step: remove /").len(),
            "{fixture}"
        );
    }
}

#[test]
fn the_host_is_read_in_its_store_while_an_agent_serves_it() {
    everywhere(|rig| {
        rig.sandbox()
            .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
        rig.host().provision(&Server::two_networks()).unwrap();
        let before = Tree::read(rig.sandbox().root());
        let output = rig.run(&["plan"]);
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for part in [
            "+++ b/etc/network/interfaces\n",
            "+    address 203.0.113.72\n",
            "\nrun ifup eth0\n",
            "\n+web-1\n",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert_eq!(Tree::read(rig.sandbox().root()).differences(&before), "");

        rig.host().reset_network().unwrap();
        let output = rig.run(&["plan"]);
        assert!(
            text(&output.stdout).contains("\nnothing would change\n"),
            "{}",
            text(&output.stdout)
        );
    });
}

#[test]
fn what_cannot_be_read_is_named() {
    let guest = Fixture::named("debian-12-ifupdown").guest();
    for (arguments, word) in [
        (["--xenstore", "unix:/nonexistent"], "no way to Xenstore"),
        (["--network", "/nonexistent"], "/nonexistent"),
    ] {
        let output = plan(guest.path(), &arguments);
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(1), String::new())
        );
        assert!(
            text(&output.stderr).contains(word),
            "{}",
            text(&output.stderr)
        );
    }
}

fn plan(sandbox: &Path, arguments: &[&str]) -> Output {
    Command::new(RUNTIME.binary())
        .arg("plan")
        .arg("--sandbox")
        .arg(sandbox)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
