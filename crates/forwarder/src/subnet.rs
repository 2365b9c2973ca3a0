//! Which addresses a forwarder may connect to: those on the networks that it is itself on.

use std::net::{IpAddr, Ipv4Addr};

/// The kernel's table of routes (proc(5), `/proc/net/route`).
const ROUTES: &str = "/proc/net/route";

/// Where a target may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subnets {
    /// On a network that this machine (or container) is on, and nowhere beyond a router.
    Connected,
    /// On these: network and mask.
    Only(Vec<(Ipv4Addr, Ipv4Addr)>),
}

impl Subnets {
    /// Whether `address` may be connected to. The networks are looked up each time: a container can be
    /// connected to another one while it runs.
    pub fn allow(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else {
            // Engines give containers no other address unless told to, and ours are not.
            return false;
        };
        if address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_unspecified()
        {
            return false;
        }
        let within =
            |(network, mask): &(Ipv4Addr, Ipv4Addr)| address.to_bits() & mask.to_bits() == network.to_bits();
        match self {
            Self::Only(list) => list.iter().any(within),
            Self::Connected => match std::fs::read_to_string(ROUTES) {
                Ok(table) => connected(&table).iter().any(within),
                Err(_) => false,
            },
        }
    }
}

/// The networks that are reached without a router. Addresses in the table are in the byte order of the
/// machine that wrote it, which is this one.
fn connected(table: &str) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let network = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
        let (network, gateway, mask) = (number(1)?, number(2)?, number(7)?);
        let address = |bits: u32| Ipv4Addr::from(bits.to_ne_bytes());
        (gateway == 0 && mask != 0).then(|| (address(network), address(mask)))
    };
    table.lines().skip(1).filter_map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_of_routes_shows_the_networks_that_need_no_router() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010013AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000013AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     eth1\t0000000A\t010013AC\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
                     broken\n";
        assert_eq!(connected(table), [(Ipv4Addr::new(172, 19, 0, 0), Ipv4Addr::new(255, 255, 0, 0))]);
        assert_eq!(connected(""), []);
    }

    #[test]
    fn only_what_lies_on_the_network_is_allowed() {
        let subnets = Subnets::Only(vec![(Ipv4Addr::new(172, 19, 0, 0), Ipv4Addr::new(255, 255, 0, 0))]);
        assert!(subnets.allow(IpAddr::from([172, 19, 3, 4])));
        for outside in ["172.20.0.1", "127.0.0.1", "8.8.8.8", "::1", "fd00::1", "0.0.0.0"] {
            assert!(!subnets.allow(outside.parse().expect("an address")), "{outside}");
        }
        let all = Subnets::Only(vec![(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)]);
        for never in ["169.254.169.254", "224.0.0.1", "255.255.255.255", "0.0.0.0", "::ffff:169.254.169.254"]
        {
            assert!(!all.allow(never.parse().expect("an address")), "{never}");
        }
    }
}
