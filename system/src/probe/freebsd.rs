//! Network interfaces as FreeBSD's getifaddrs(3) lists them.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nova_agent_core::effect::InterfaceState;
use nova_agent_core::network::MacAddr;

/// Names of interfaces that borrow the address of another one.
const BORROWERS: [&str; 8] = [
    "bridge", "lagg", "vlan", "epair", "tap", "vm-", "wlan", "lo",
];

pub(super) fn interfaces() -> Vec<InterfaceState> {
    let listed = match getifaddrs() {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "failed to list network interfaces");
            return Vec::new();
        }
    };
    let mut interfaces: Vec<InterfaceState> = listed
        .filter_map(|item| {
            let link = item.address.as_ref()?.as_link_addr()?;
            let name = item.interface_name;
            let mac = MacAddr::try_from(link.addr()?).ok();
            let borrows =
                name.contains('.') || BORROWERS.iter().any(|prefix| name.starts_with(prefix));
            // netfront(4)'s unit number is the number of its device in Xenstore.
            let vif: Option<u32> = name.strip_prefix("xn").and_then(|unit| unit.parse().ok());
            Some(InterfaceState {
                physical: mac.is_some() && !borrows,
                driver: vif.map(|_| String::from("xn")),
                up: item.flags.contains(InterfaceFlags::IFF_UP),
                name,
                mac,
                vif,
                master: None,
                addresses: Vec::new(),
            })
        })
        .collect();
    interfaces.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    interfaces
}
