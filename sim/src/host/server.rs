//! What the host knows of a server.

use std::collections::BTreeMap;

use nova_agent_core::secret::Secret;

/// A server as its owner ordered it.
#[derive(Debug, Default)]
pub struct Server {
    /// The hostname.
    pub hostname: String,
    /// The virtual interfaces.
    pub vifs: Vec<Vif>,
    /// The owner's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The public key of the owner.
    pub ssh_key: Option<String>,
    /// Files to inject at the first boot.
    pub files: Vec<InjectedFile>,
    /// The password of the administrator.
    pub admin_password: Option<Secret>,
}

/// A virtual interface and its network.
#[derive(Clone, Debug)]
pub struct Vif {
    /// The name of its node: the MAC address without colons, in the case that the network service uses.
    pub node: String,
    /// Its network as JSON.
    pub network: String,
}

/// A file to inject.
#[derive(Debug)]
pub struct InjectedFile {
    /// Where it goes.
    pub path: String,
    /// What is in it.
    pub content: Secret,
}

impl Server {
    /// A server with a public network of both address families and a private one with routes.
    #[must_use]
    pub fn two_networks() -> Self {
        const PUBLIC: &str = r#"{"label": "public", "mac": "BC:76:4E:20:75:72", "gateway": "203.0.113.1", "broadcast": "203.0.113.255", "ips": [{"ip": "203.0.113.72", "enabled": "1", "netmask": "255.255.255.0", "gateway": "203.0.113.1"}], "gateway_v6": "fe80::def", "ip6s": [{"ip": "2001:db8:7802:104:be76:4eff:fe20:7572", "enabled": "1", "netmask": 64, "gateway": "fe80::def"}], "dns": ["198.51.100.164", "198.51.100.196"]}"#;
        const PRIVATE: &str = r#"{"label": "private", "mac": "BC:76:4E:20:5E:FB", "gateway": null, "broadcast": "10.176.223.255", "ips": [{"ip": "10.176.195.183", "enabled": "1", "netmask": "255.255.224.0", "gateway": null}], "routes": [{"route": "10.208.0.0", "netmask": "255.240.0.0", "gateway": "10.176.192.1"}, {"route": "10.176.0.0", "netmask": "255.240.0.0", "gateway": "10.176.192.1"}]}"#;

        Self {
            hostname: "web-1".into(),
            vifs: vec![
                Vif { node: "BC764E207572".into(), network: PUBLIC.into() },
                Vif { node: "BC764E205EFB".into(), network: PRIVATE.into() },
            ],
            metadata: [("role", "web"), ("comment", "said \"hi\"")].map(|(k, v)| (k.into(), v.into())).into(),
            ssh_key: Some(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMUdFVjyKmrzj7P2nJ9Cw0mDq0vQZ0v0b2m1YkQmXh3P owner".into(),
            ),
            files: Vec::new(),
            admin_password: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_of_the_example_are_json_and_fit_their_nodes() {
        for vif in Server::two_networks().vifs {
            let network: serde_json::Value = serde_json::from_str(&vif.network).unwrap();
            assert_eq!(network["mac"].as_str().unwrap().replace(':', ""), vif.node);
        }
    }
}
