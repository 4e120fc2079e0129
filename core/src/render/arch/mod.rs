//! Arch Linux before systemd: `/etc/rc.conf` with the service `network`, or profiles of netcfg.

mod netcfg;
mod rc_conf;

use alloc::format;
use alloc::string::{String, ToString};

pub(super) use self::netcfg::STACK as NETCFG;
pub(super) use self::rc_conf::STACK as RC_CONF_STACK;
use super::assignments::Assignments;
use crate::effect::GuestPath;

pub(super) const RC_CONF: GuestPath = GuestPath::constant("/etc/rc.conf");

/// The service that brings up what rc.conf describes.
const NETWORK: &str = "network";

/// Its script.
const NETWORK_SCRIPT: &str = "/etc/rc.d/network";

/// The services that start at boot, in this order. `!` disables one, `@` starts it in the
/// background.
const DAEMONS: &str = "DAEMONS";

/// The name in an entry of a list.
fn entry_name(entry: &str) -> &str {
    entry.trim_start_matches(['!', '@'])
}

fn is_enabled(entry: &str, name: &str) -> bool {
    !entry.starts_with('!') && entry_name(entry) == name
}

/// Whether a service starts at boot.
fn starts(file: &Assignments, name: &str) -> bool {
    file.words(DAEMONS)
        .iter()
        .any(|entry| is_enabled(entry, name))
}

/// Makes a service start at boot in the place of another one, which is disabled.
fn start_instead(file: &mut Assignments, name: &str, entry: &str, other: &str) {
    let listed = file
        .words(DAEMONS)
        .iter()
        .any(|entry| entry_name(entry) == name);
    file.edit_list(DAEMONS, |old| match entry_name(old) {
        found if found == name && old.starts_with('!') => Some(entry.to_string()),
        found if found == other => match (old.starts_with('!'), listed) {
            (false, true) => Some(format!("!{other}")),
            (false, false) => Some(format!("!{other} {entry}")),
            (true, false) => Some(format!("{old} {entry}")),
            (true, true) => None,
        },
        _ => None,
    });
    if !starts(file, name) {
        file.push_front(DAEMONS, entry);
    }
}

/// A list of words that need no quotes.
fn list(words: &[String]) -> String {
    format!("({})", words.join(" "))
}

/// Whether a word can be written into a list as it is.
fn is_plain_word(word: &str) -> bool {
    word.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!@._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switched(daemons: &str) -> String {
        let mut file = Assignments::for_editing(&RC_CONF, daemons).unwrap();
        start_instead(&mut file, "net-profiles", "@net-profiles", NETWORK);
        file.text()
    }

    #[test]
    fn one_service_starts_instead_of_the_other() {
        assert_eq!(
            switched("DAEMONS=(a network b)\n"),
            "DAEMONS=(a !network @net-profiles b)\n"
        );
        assert_eq!(
            switched("DAEMONS=(a @network b !net-profiles)\n"),
            "DAEMONS=(a !network b @net-profiles)\n"
        );
        assert_eq!(
            switched("DAEMONS=(a !network net-profiles)\n"),
            "DAEMONS=(a !network net-profiles)\n"
        );
        assert_eq!(
            switched("DAEMONS=(a !network)\n"),
            "DAEMONS=(a !network @net-profiles)\n"
        );
        assert_eq!(
            switched("DAEMONS=(a\n b)\n"),
            "DAEMONS=(@net-profiles a\n b)\n"
        );
        assert_eq!(switched("DAEMONS=()\n"), "DAEMONS=(@net-profiles)\n");
        assert_eq!(switched(""), "DAEMONS=(@net-profiles)\n");
    }
}
