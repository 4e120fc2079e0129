//! Random data of a host, all of it valid: what Neutron can express, and labels that it should not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nova_agent_core::network::{Cidr, NetworkConfig};
use nova_agent_core::render::HostData;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// The interfaces of a server, at most.
pub(crate) const INTERFACES_MAX: usize = 3;

/// Below it, random bits are few networks beside each other.
const SMALL: u128 = 4096;

/// The MAC address of an interface.
pub(crate) fn mac(number: usize) -> String {
    format!("00:16:3e:00:00:{:02x}", number + 1)
}

/// What a host says about one to three interfaces.
pub(crate) fn host_data() -> impl Strategy<Value = HostData> {
    prop::collection::vec(interface(), 1..=INTERFACES_MAX).prop_map(|interfaces| {
        let value = |(number, value): (usize, Value)| {
            let mut value = value;
            value["mac"] = json!(mac(number));
            (mac(number).replace(':', ""), value.to_string().into_bytes())
        };
        let vifs = (0..).zip((0..interfaces.len()).map(mac)).collect();
        let networking = interfaces.into_iter().enumerate().map(value).collect();
        HostData {
            hostname: Some(b"web-01".to_vec()),
            networking,
            vifs,
        }
    })
}

/// Whether a kernel can do all of it: none takes the broadcast address of any of its networks as a gateway.
pub(crate) fn is_possible(config: &NetworkConfig) -> bool {
    let broadcasts: Vec<IpAddr> = config
        .interfaces
        .iter()
        .flat_map(|interface| &interface.v4.addresses)
        .filter_map(|own| edge(*own))
        .collect();
    config.interfaces.iter().all(|interface| {
        let defaults = [&interface.v4, &interface.v6]
            .into_iter()
            .filter_map(|family| family.gateway);
        let mut gateways = defaults.chain(interface.routes.iter().filter_map(|route| route.via));
        gateways.all(|gateway| {
            // The kernel takes an on-link gateway of IPv6 only as long as no other interface has a route to it, so what
            // comes of that depends on who is first.
            let elsewhere = config
                .interfaces
                .iter()
                .filter(|other| other.name != interface.name);
            let mut routes = elsewhere.flat_map(|other| &other.routes);
            let is_ambiguous = gateway.address.is_ipv6()
                && gateway.onlink
                && routes.any(|route| route.destination.contains(gateway.address));
            !is_ambiguous && !broadcasts.contains(&gateway.address)
        })
    })
}

/// The broadcast address of a network that has one.
fn edge(own: Cidr) -> Option<IpAddr> {
    match (own.network().address(), own.netmask()) {
        (IpAddr::V4(network), IpAddr::V4(mask)) if own.prefix_len() < 31 => {
            Some((network | !mask).into())
        }
        _ => None,
    }
}

/// A subnet: random bits of its address, its prefix length, random host numbers.
type Subnet = (u128, u8, Vec<u128>);

/// Where a gateway is.
#[derive(Clone, Debug)]
enum Place {
    Nowhere,
    Inside(usize, u128),
    Outside(u128),
    LinkLocal(u16),
    /// Where the default gateway is.
    Default,
}

#[derive(Clone, Debug)]
struct Route {
    v6: bool,
    bits: u128,
    prefix_len: u8,
    /// To the default gateway alone, as some clouds make it known.
    to_gateway: bool,
    via: Place,
}

fn interface() -> impl Strategy<Value = Value> {
    let subnets = (
        prop::collection::vec(subnet(v4_prefix_len()), 0..=3),
        prop::collection::vec(subnet(v6_prefix_len()), 0..=2),
    )
        .prop_filter("an interface has an address", |(v4, v6)| {
            !v4.is_empty() || !v6.is_empty()
        });
    let gateways = (place(false), place(true));
    (label(), subnets, gateways, prop::collection::vec(route(), 0..=3), prop::collection::vec(nameserver(), 0..=4))
        .prop_map(|(label, (v4, v6), (gateway, gateway_v6), routes, nameservers)| {
            let v4 = V4.addresses(&v4);
            let v6 = V6.addresses(&v6);
            let gateways = [V4.at(&gateway, &v4, None), V6.at(&gateway_v6, &v6, None)];
            let routes: Vec<Value> = routes.iter().map(|route| route.value(&v4, &v6, gateways)).collect();
            let entry =
                |own: &Cidr| json!({ "ip": own.address().to_string(), "netmask": netmask(*own), "enabled": "1" });
            json!({
                "label": label, "gateway": gateways[0], "gateway_v6": gateways[1], "routes": routes, "dns": nameservers,
                "ips": v4.iter().map(entry).collect::<Vec<_>>(), "ip6s": v6.iter().map(entry).collect::<Vec<_>>(),
            })
        })
}

fn subnet(prefix_len: impl Strategy<Value = u8>) -> impl Strategy<Value = Subnet> {
    (
        bits(),
        prefix_len,
        prop::collection::vec(any::<u128>(), 1..=2),
    )
}

/// Often from few networks, so that they overlap.
fn bits() -> impl Strategy<Value = u128> {
    prop_oneof![2 => 0..SMALL, 3 => any::<u128>()]
}

fn v4_prefix_len() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(24), 4 => 16_u8..=30, 1 => Just(31), 1 => Just(32), 1 => 8_u8..=32]
}

fn v6_prefix_len() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(64), 1 => Just(128), 2 => 33_u8..=128]
}

fn place(v6: bool) -> impl Strategy<Value = Place> {
    let link_local = if v6 { 3 } else { 0 };
    prop_oneof![
        1 => Just(Place::Nowhere),
        4 => (any::<usize>(), any::<u128>()).prop_map(|(nth, offset)| Place::Inside(nth, offset)),
        2 => bits().prop_map(Place::Outside),
        link_local => any::<u16>().prop_map(Place::LinkLocal),
        1 => Just(Place::Default),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    (any::<bool>(), bits(), 1_u8..=128, prop::bool::weighted(0.1)).prop_flat_map(
        |(v6, bits, prefix_len, to_gateway)| {
            place(v6).prop_map(move |via| Route {
                v6,
                bits,
                prefix_len,
                to_gateway,
                via,
            })
        },
    )
}

fn nameserver() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1_u8..=20).prop_map(|last| IpAddr::from([198, 51, 100, last])),
        (1_u16..=20).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0x53, 0, 0, 0, 0, last])),
    ]
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => select(vec!["public", "private", ""]).prop_map(String::from),
        2 => select(vec![
            "x\nup reboot",
            "$(reboot)",
            "`reboot`; reboot #",
            "\\",
            "\"\r\n'",
            "'; reboot; '",
            "]\n[Network]\nDHCP=yes",
            "# \u{2028} \u{85} \0",
            "}: {",
        ]).prop_map(String::from),
        1 => "\\PC{0,80}",
        1 => ".{0,80}",
    ]
}

impl Route {
    fn value(&self, v4: &[Cidr], v6: &[Cidr], gateways: [Option<IpAddr>; 2]) -> Value {
        let (version, own, default) = if self.v6 {
            (V6, v6, gateways[1])
        } else {
            (V4, v4, gateways[0])
        };
        let destination =
            match default.filter(|gateway| self.to_gateway && !is_link_local(*gateway)) {
                Some(gateway) => Cidr::host(gateway),
                None => version.cidr(self.bits, self.prefix_len % version.width() + 1),
            };
        json!({
            "route": destination.address(), "netmask": destination.netmask(),
            "gateway": version.at(&self.via, own, default),
        })
    }
}

/// How an address family makes addresses of random bits.
#[derive(Clone, Copy)]
enum Version {
    V4,
    V6,
}

use Version::{V4, V6};

impl Version {
    const fn width(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// Host bits included. Small numbers are in 10.0.0.0/14 and in 2001:db8::/56, all others where servers have addresses.
    fn cidr(self, bits: u128, prefix_len: u8) -> Cidr {
        let small = bits < SMALL;
        let address = match self {
            Self::V4 => {
                let bits = bits as u32;
                let usable = matches!(bits.to_be_bytes(), [1..=126 | 128..=168 | 170..=223, ..]);
                let address = match (small, usable) {
                    (true, _) => 10 << 24 | bits << 6,
                    (false, true) => bits,
                    (false, false) => 10 << 24 | bits & 0xff_ffff,
                };
                IpAddr::from(Ipv4Addr::from_bits(address))
            }
            Self::V6 => {
                let top: u128 = if bits >> 127 == 1 {
                    0xfd << 120
                } else {
                    0x2001_0db8 << 96
                };
                let rest = if small {
                    bits << 60
                } else {
                    bits & (u128::MAX >> 32)
                };
                IpAddr::from(Ipv6Addr::from_bits(top | rest))
            }
        };
        Cidr::new(address, prefix_len).expect("a prefix length of this family")
    }

    fn addresses(self, subnets: &[Subnet]) -> Vec<Cidr> {
        let hosts = subnets.iter().flat_map(|(bits, prefix_len, hosts)| {
            let network = self.cidr(*bits, *prefix_len);
            hosts.iter().map(move |offset| {
                Cidr::new(host_in(network, *offset), *prefix_len).expect("as before")
            })
        });
        let mut addresses: Vec<Cidr> = Vec::new();
        for own in hosts {
            if addresses
                .iter()
                .all(|other| other.address() != own.address())
            {
                addresses.push(own);
            }
        }
        addresses
    }

    fn at(self, place: &Place, own: &[Cidr], default: Option<IpAddr>) -> Option<IpAddr> {
        match place {
            Place::Nowhere => None,
            Place::Inside(nth, offset) => {
                let network = *own.get(nth.checked_rem(own.len())?)?;
                Some(host_in(network, *offset))
            }
            Place::Outside(bits) => Some(host_in(self.cidr(*bits, 24), *bits)),
            Place::LinkLocal(last) => Some(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0xdef, *last])),
            Place::Default => default,
        }
    }
}

/// An address of a network that is neither its first nor its last one, if it has others.
fn host_in(network: Cidr, offset: u128) -> IpAddr {
    let (first, width) = match network.network().address() {
        IpAddr::V4(first) => (u128::from(first.to_bits()), 32),
        IpAddr::V6(first) => (first.to_bits(), 128),
    };
    let size = 1_u128
        .checked_shl((width - network.prefix_len()).into())
        .unwrap_or(u128::MAX);
    let number = if size > 2 {
        1 + offset % (size - 2)
    } else {
        offset % size
    };
    match network.address() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::from_bits((first + number) as u32)),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::from_bits(first + number)),
    }
}

/// As Nova writes it.
fn netmask(own: Cidr) -> Value {
    match own.netmask() {
        IpAddr::V4(mask) => json!(mask),
        IpAddr::V6(_) => json!(own.prefix_len()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
