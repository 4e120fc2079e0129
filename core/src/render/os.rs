//! Which operating system the guest runs.

use alloc::format;
use alloc::string::{String, ToString};

use super::assignments::Assignments;
use super::guest::Guest;
use crate::effect::GuestPath;
use crate::network::quoted;

/// Systems that keep their settings in the same places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OsFamily {
    Alpine,
    Arch,
    Debian,
    FreeBsd,
    Gentoo,
    /// Systems that were built around systemd alone.
    Networkd,
    RedHat,
    Slackware,
    Suse,
    Unknown,
}

/// The operating system.
#[derive(Debug)]
pub(super) struct Os {
    pub(super) family: OsFamily,
    /// `ID` of os-release in lower case; empty without one.
    pub(super) id: String,
    /// The first number of the version.
    pub(super) major: Option<u32>,
    /// Its name and version for messages.
    pub(super) name: String,
    /// Whether systemd is installed.
    pub(super) systemd: bool,
}

/// Files that only one family has, for systems without os-release; the more specific ones come
/// first.
const RELEASE_FILES: [(GuestPath, OsFamily); 8] = [
    (GuestPath::constant("/etc/redhat-release"), OsFamily::RedHat),
    (GuestPath::constant("/etc/system-release"), OsFamily::RedHat),
    (GuestPath::constant("/etc/SuSE-release"), OsFamily::Suse),
    (GuestPath::constant("/etc/gentoo-release"), OsFamily::Gentoo),
    (GuestPath::constant("/etc/arch-release"), OsFamily::Arch),
    (GuestPath::constant("/etc/alpine-release"), OsFamily::Alpine),
    (
        GuestPath::constant("/etc/slackware-version"),
        OsFamily::Slackware,
    ),
    (GuestPath::constant("/etc/debian_version"), OsFamily::Debian),
];

/// `/etc/os-release` is a symlink to the second one on most systems.
const OS_RELEASE: [GuestPath; 2] = [
    GuestPath::constant("/etc/os-release"),
    GuestPath::constant("/usr/lib/os-release"),
];

const SYSTEMD: [GuestPath; 2] = [
    GuestPath::constant("/usr/lib/systemd/systemd"),
    GuestPath::constant("/lib/systemd/systemd"),
];

impl Os {
    /// Finds out what the guest runs.
    pub(super) fn of(guest: &Guest<'_>) -> Self {
        let systemd = guest.exists_any(&SYSTEMD);
        let [etc, usr] = OS_RELEASE.map(|path| guest.text(&path));
        let by_file = RELEASE_FILES.map(|(path, family)| (guest.text(&path), family));

        if let Some(kernel) = guest.kernel().filter(|kernel| kernel.system == "FreeBSD") {
            return Self {
                family: OsFamily::FreeBsd,
                id: "freebsd".to_string(),
                major: first_number(&kernel.release),
                name: format!("FreeBSD {}", quoted(&kernel.release)),
                systemd: false,
            };
        }
        if let Some(release) = etc.or(usr) {
            return Self::of_os_release(&Assignments::parse(&release), systemd);
        }
        let first = by_file
            .into_iter()
            .find_map(|(text, family)| Some((text?, family)));
        match first {
            Some((text, family)) => Self::of_release_file(&text, family, systemd),
            None => Self {
                family: OsFamily::Unknown,
                id: String::new(),
                major: None,
                name: "unknown system".to_string(),
                systemd,
            },
        }
    }

    fn of_os_release(release: &Assignments, systemd: bool) -> Self {
        let id = release.get("ID").unwrap_or_default().to_ascii_lowercase();
        let like = release
            .get("ID_LIKE")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let family = core::iter::once(&*id)
            .chain(like.split_ascii_whitespace())
            .map(family_of)
            .find(|family| *family != OsFamily::Unknown)
            .unwrap_or(OsFamily::Unknown);
        let version = release.get("VERSION_ID").unwrap_or_default();
        let name = release.get("NAME").unwrap_or_else(|| id.clone());
        Self {
            family,
            id,
            major: first_number(&version),
            name: quoted(format!("{name} {version}").trim_ascii()),
            systemd,
        }
    }

    /// By a file that only one family has: its first line names the system, except on Debian.
    fn of_release_file(text: &str, family: OsFamily, systemd: bool) -> Self {
        let line = text.lines().next().unwrap_or_default().trim_ascii();
        let name = if family == OsFamily::Debian {
            "Debian"
        } else {
            line
        };
        Self {
            family,
            id: String::new(),
            major: first_number(line),
            name: quoted(name),
            systemd,
        }
    }

    /// Returns whether NetworkManager stores its profiles in ifcfg files: Red Hat Enterprise Linux
    /// 7 and 8, and Fedora up to 35.
    pub(super) fn keeps_ifcfg_under_network_manager(&self) -> bool {
        self.family == OsFamily::RedHat
            && match (&*self.id, self.major) {
                (_, None) => false,
                ("fedora", Some(major)) => major <= 35,
                (_, Some(major)) => major <= 8,
            }
    }

    /// Returns the method that turns IPv6 off in NetworkManager. `disabled` exists since version
    /// 1.20; an older version refuses the whole profile. `ignore` leaves IPv6 to the kernel.
    pub(super) fn without_ipv6_in_network_manager(&self) -> &'static str {
        let old = match (self.family, &*self.id, self.major) {
            (OsFamily::RedHat, "fedora", Some(major)) => major <= 30,
            (OsFamily::RedHat, ..) => self.is_old_red_hat(),
            (OsFamily::Debian, "linuxmint" | "ubuntu", Some(major)) => major < 20,
            (OsFamily::Debian, _, Some(major)) => major <= 10,
            // The service packs of 15 brought different versions.
            (OsFamily::Suse, "opensuse-leap", Some(major)) => major == 42 || major <= 15,
            (OsFamily::Suse, "sle-micro" | "opensuse-leap-micro", _) => false,
            (OsFamily::Suse, _, Some(major)) => major <= 15,
            _ => false,
        };
        if old { "ignore" } else { "disabled" }
    }

    /// Returns whether the service `network` wins over a NetworkManager beside it: Red Hat
    /// Enterprise Linux up to 7, its clones, and Amazon Linux up to 2.
    pub(super) fn is_old_red_hat(&self) -> bool {
        self.family == OsFamily::RedHat
            && match (&*self.id, self.major) {
                ("fedora", _) | (_, None) => false,
                // Amazon Linux counts 2017.03, 2018.03, 2, 2023.
                ("amzn", Some(major)) => major <= 2 || (2011..=2018).contains(&major),
                // Amazon Linux 1 before its os-release.
                (_, Some(major)) => major <= 7 || (2011..=2018).contains(&major),
            }
    }
}

fn family_of(id: &str) -> OsFamily {
    match id {
        "almalinux" | "amzn" | "centos" | "cloudlinux" | "fedora" | "ol" | "oracle" | "redhat"
        | "rhel" | "rocky" | "scientific" | "virtuozzo" => OsFamily::RedHat,
        "debian" | "linuxmint" | "raspbian" | "ubuntu" => OsFamily::Debian,
        "sle-micro" | "sled" | "sles" | "suse" => OsFamily::Suse,
        "arch" | "manjaro" => OsFamily::Arch,
        "gentoo" => OsFamily::Gentoo,
        "alpine" => OsFamily::Alpine,
        "slackware" => OsFamily::Slackware,
        "azurelinux" | "coreos" | "flatcar" | "mariner" | "photon" => OsFamily::Networkd,
        id if id.starts_with("opensuse") => OsFamily::Suse,
        _ => OsFamily::Unknown,
    }
}

fn first_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .find(|digits| !digits.is_empty())?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use crate::effect::{FileMode, FileState, Snapshot};

    use super::*;

    fn os(path: &'static str, text: &str) -> Os {
        let mut snapshot = Snapshot::default();
        let state = FileState::Regular {
            content: text.as_bytes().to_vec(),
            mode: FileMode::PUBLIC,
        };
        snapshot.files.insert(GuestPath::constant(path), state);
        Os::of(&Guest::new(&snapshot))
    }

    #[test]
    fn os_release_names_the_family_by_id_or_by_likeness() {
        let release = "NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\nID_LIKE=debian\n";
        let ubuntu = os("/usr/lib/os-release", release);
        assert_eq!(
            (ubuntu.family, &*ubuntu.name, ubuntu.major),
            (OsFamily::Debian, "Ubuntu 22.04", Some(22))
        );
        assert_eq!(
            os("/etc/os-release", "ID=new\nID_LIKE='other RHEL fedora'\n").family,
            OsFamily::RedHat
        );
        assert_eq!(
            os("/etc/os-release", "ID=opensuse-leap\n").family,
            OsFamily::Suse
        );
        assert_eq!(
            os("/etc/os-release", "ID=plan9\n").family,
            OsFamily::Unknown
        );
    }

    #[test]
    fn an_old_networkmanager_is_told_to_ignore_ipv6() {
        let method = |text| os("/etc/os-release", text).without_ipv6_in_network_manager();
        for old in [
            "ID=centos\nVERSION_ID=7\n",
            "ID=debian\nVERSION_ID=10\n",
            "ID=ubuntu\nVERSION_ID=18.04\n",
            "ID=opensuse-leap\nVERSION_ID=15.6\n",
            "ID=fedora\nVERSION_ID=30\n",
        ] {
            assert_eq!(method(old), "ignore", "{old}");
        }
        for new in [
            "ID=rocky\nVERSION_ID=8.10\n",
            "ID=debian\nVERSION_ID=11\n",
            "ID=ubuntu\nVERSION_ID=20.04\n",
            "ID=sles\nVERSION_ID=16.0\n",
            "ID=opensuse-tumbleweed\nVERSION_ID=20260101\n",
            "ID=arch\n",
        ] {
            assert_eq!(method(new), "disabled", "{new}");
        }
    }

    #[test]
    fn older_systems_are_known_by_their_release_files() {
        let centos = os("/etc/redhat-release", "CentOS release 6.10 (Final)\n");
        assert_eq!(
            (centos.family, &*centos.name),
            (OsFamily::RedHat, "CentOS release 6.10 (Final)")
        );
        assert!(centos.is_old_red_hat());
        assert!(os("/etc/system-release", "Amazon Linux AMI release 2018.03\n").is_old_red_hat());
        assert!(os("/etc/os-release", "ID=amzn\nVERSION_ID=\"2\"\n").is_old_red_hat());
        assert!(!os("/etc/os-release", "ID=amzn\nVERSION_ID=\"2023\"\n").is_old_red_hat());
        assert!(!os("/etc/os-release", "ID=fedora\nVERSION_ID=7\n").is_old_red_hat());
        assert!(!os("/etc/os-release", "ID=rocky\nVERSION_ID=8.9\n").is_old_red_hat());
        assert_eq!(os("/etc/debian_version", "7.11\n").family, OsFamily::Debian);
    }
}
