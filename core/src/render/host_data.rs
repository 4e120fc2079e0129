//! What the host says about the network, and where in Xenstore it says it (protocol.md, "Xenstore
//! layout").

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::network;
use crate::wire::StorePath;

/// The most entries that are read of a list: one more than can be configured, so that an excess is
/// reported to the host.
const ENTRIES_MAX: usize = network::INTERFACES_MAX + 1;

const HOSTNAME: StorePath = StorePath::constant("vm-data/hostname");
const NETWORKING: StorePath = StorePath::constant("vm-data/networking");
const VIFS: StorePath = StorePath::constant("device/vif");

/// What the host's part of Xenstore says about the network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostData {
    /// `vm-data/hostname`, if there is one.
    pub hostname: Option<Vec<u8>>,
    /// The names and values below `vm-data/networking`, in any order.
    pub networking: Vec<(String, Vec<u8>)>,
    /// The numbers below `device/vif` and the `mac` of each, in any order.
    pub vifs: Vec<(u32, String)>,
}

/// The nodes that must be read before [`HostData`] can be made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unread {
    /// The nodes whose children are to be listed.
    pub lists: Vec<StorePath>,
    /// The nodes whose values are to be read.
    pub values: Vec<StorePath>,
}

impl HostData {
    /// Collects the data from what was read of Xenstore: children and values by node, none and
    /// `None` for a node that does not exist.
    ///
    /// # Errors
    /// [`Unread`] says what is missing: the two lists at first, then what is in them.
    pub fn collect(
        lists: &BTreeMap<StorePath, Vec<String>>,
        values: &BTreeMap<StorePath, Option<Vec<u8>>>,
    ) -> Result<Self, Unread> {
        let (Some(networking), Some(vifs)) = (lists.get(&NETWORKING), lists.get(&VIFS)) else {
            return Err(Unread {
                lists: Vec::from([NETWORKING, VIFS]),
                values: Vec::from([HOSTNAME]),
            });
        };
        let networking = networking
            .iter()
            .take(ENTRIES_MAX)
            .filter_map(|name| Some((name, NETWORKING.join(name).ok()?)));
        let vifs = vifs.iter().take(ENTRIES_MAX).filter_map(|name| {
            let mac = VIFS.join(name).ok()?.join("mac").ok()?;
            Some((name.parse::<u32>().ok()?, mac))
        });
        let missing: Vec<StorePath> = networking
            .clone()
            .map(|(_, path)| path)
            .chain(vifs.clone().map(|(_, path)| path))
            .filter(|path| !values.contains_key(path))
            .collect();
        if !missing.is_empty() {
            return Err(Unread {
                lists: Vec::new(),
                values: missing,
            });
        }
        let value = |path: &StorePath| values.get(path).cloned().flatten();
        Ok(Self {
            hostname: value(&HOSTNAME),
            networking: networking
                .filter_map(|(name, path)| Some((name.clone(), value(&path)?)))
                .collect(),
            vifs: vifs
                .filter_map(|(index, path)| {
                    Some((index, String::from_utf8_lossy(&value(&path)?).into_owned()))
                })
                .collect(),
        })
    }
}
