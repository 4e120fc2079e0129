//! Network interfaces as Linux shows them below `/sys/class/net`.
//!
//! What the files mean: Linux `Documentation/ABI/testing/sysfs-class-net`. In a sandbox they may be plain files and
//! directories, and the symlinks among them may lead nowhere.

use nova_agent_core::effect::{GuestPath, InterfaceState};
use nova_agent_core::network::MacAddr;

use super::names;
use crate::files::read_text;
use crate::root::{Access, Directory, Root, file_type};

const NET: GuestPath = GuestPath::constant("/sys/class/net");

/// `type` of an Ethernet interface (`linux/if_arp.h`, `ARPHRD_ETHER`).
const ETHERNET: &str = "1";

/// `addr_assign_type` of an interface with another one's address (`linux/netdevice.h`, `NET_ADDR_STOLEN`).
const STOLEN: &str = "2";

/// Bit of `flags`: administratively up (`linux/if.h`, `IFF_UP`).
const UP: u32 = 1;

pub(super) fn interfaces(root: &Root) -> Vec<InterfaceState> {
    let Ok(net) = root.directory(&NET, Access::Read) else {
        return Vec::new();
    };
    let mut names = names(&net);
    names.sort_unstable();
    let mut candidates: Vec<Candidate> = names
        .iter()
        .filter(|name| *name != "lo")
        .filter_map(|name| Candidate::read(root, name))
        .collect();

    // In a container the only interface is the end of a virtual pair, without hardware of its own.
    let has_hardware = candidates.iter().any(|candidate| candidate.has_device);
    let mut unmarked = candidates
        .iter_mut()
        .filter(|candidate| candidate.is_unmarked);
    if let (false, Some(only), None) = (has_hardware, unmarked.next(), unmarked.next()) {
        only.state.physical = true;
    }
    candidates
        .into_iter()
        .map(|candidate| candidate.state)
        .collect()
}

struct Candidate {
    state: InterfaceState,
    has_device: bool,
    /// An Ethernet interface that nothing marks as one that borrows its address.
    is_unmarked: bool,
}

impl Candidate {
    /// `None` for what is no interface: a control file such as `bonding_masters`, or an interface that just vanished.
    fn read(root: &Root, name: &str) -> Option<Self> {
        let path = NET.join(name).ok()?;
        let interface = root.directory(&path, Access::Read).ok()?;
        let has = |entry: &str| interface.stat(entry).is_ok();
        let device = path
            .join("device")
            .ok()
            .and_then(|device| root.directory(&device, Access::Read).ok());
        let slave = path
            .join("bonding_slave")
            .ok()
            .and_then(|slave| root.directory(&slave, Access::Read).ok());

        let is_ethernet = read_text(&interface, "type").as_deref() == Some(ETHERNET);
        let borrows = has("bridge")
            || has("bonding")
            || has("tun_flags")
            || read_text(&interface, "addr_assign_type").as_deref() == Some(STOLEN)
            // bridge, bond, vlan, macvlan, vxlan, wlan, ...: a plain network card has none.
            || variable(&interface, "DEVTYPE").is_some();
        let has_device = has("device");
        let is_unmarked = is_ethernet && !borrows;

        let address = slave
            .and_then(|slave| read_text(&slave, "perm_hwaddr"))
            .or_else(|| read_text(&interface, "address"))
            .unwrap_or_default();
        let nodename = device
            .as_ref()
            .and_then(|device| read_text(device, "nodename"));
        let driver = device
            .as_ref()
            .and_then(|device| link_name(device, "driver").or_else(|| variable(device, "DRIVER")));
        let state = InterfaceState {
            name: name.into(),
            mac: MacAddr::try_from(address.as_str())
                .ok()
                .filter(|_| is_ethernet),
            physical: is_unmarked && has_device,
            vif: nodename.and_then(|node| node.strip_prefix("device/vif/")?.parse().ok()),
            master: link_name(&interface, "master"),
            driver,
            up: flags(&interface) & UP != 0,
            addresses: Vec::new(),
        };
        Some(Self {
            state,
            has_device,
            is_unmarked,
        })
    }
}

/// The last component of what a symlink points to. The name in a plain file does as well.
fn link_name(directory: &Directory, name: &str) -> Option<String> {
    let kind = file_type(&directory.stat(name).ok()?);
    let target = if kind.is_symlink() {
        directory.read_link(name).ok()?
    } else {
        read_text(directory, name)?
    };
    target
        .rsplit('/')
        .find(|part| !part.is_empty())
        .map(String::from)
}

/// A variable of a `uevent` file.
fn variable(directory: &Directory, name: &str) -> Option<String> {
    let uevent = read_text(directory, "uevent")?;
    uevent
        .lines()
        .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.into()))
}

fn flags(interface: &Directory) -> u32 {
    let flags = read_text(interface, "flags").unwrap_or_default();
    u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or_default()
}
