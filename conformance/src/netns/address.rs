// SPDX-License-Identifier: Apache-2.0
//! Who has which address. Everything is computed from small numbers, in both families.
//!
//! | what | IPv4 | IPv6 |
//! |---|---|---|
//! | node N | 172.30.0.1N | fd00:172:30::1N |
//! | node N, second address | 172.30.1.1N | fd00:172:30:1::1N |
//! | pod i on node N | 10.244.N.(10+i) | fd00:10:244:N::(10+i) |
//! | client outside | 192.168.30.100 | fd00:192:30::100 |
//! | client, alias k | 10.99.0.0 + k | fd00:10:99:: + k |
//! | ClusterIP i | 10.96.0.0 + i | fd00:10:96:: + i |
//! | load balancer i | 172.31.0.0 + i | fd00:172:31:: + i |
//! | externalIP i | 172.29.0.0 + i | fd00:172:29:: + i |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrule::model::IpFamily;

/// The cluster's pod CIDRs, as `--cluster-cidr` takes them.
pub const CLUSTER_CIDRS: &str = "10.244.0.0/16,fd00:10:244::/48";
/// The Service CIDRs of the cluster.
pub const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];
/// The client's many addresses.
pub const CLIENT_ALIASES: [&str; 2] = ["10.99.0.0/16", "fd00:10:99::/112"];

fn v4(base: [u8; 4], offset: u16) -> IpAddr {
    Ipv4Addr::from(u32::from_be_bytes(base) + u32::from(offset)).into()
}

fn v6(head: [u16; 4], last: u16) -> IpAddr {
    Ipv6Addr::new(head[0], head[1], head[2], head[3], 0, 0, 0, last).into()
}

/// Writes a number's decimal digits as hexadecimal ones: 12 becomes 0x12.
fn digits(n: u16) -> u16 {
    ((n / 100) << 8) | ((n / 10 % 10) << 4) | (n % 10)
}

fn pick(family: IpFamily, four: IpAddr, six: IpAddr) -> IpAddr {
    match family {
        IpFamily::V4 => four,
        IpFamily::V6 => six,
    }
}

/// Address of node `n` (1 to 9), the InternalIP of its Node object.
pub fn node_address(family: IpFamily, n: u16) -> IpAddr {
    let six = v6([0xfd00, 0x172, 0x30, 0], digits(10 + n));
    pick(family, v4([172, 30, 0, 10], n), six)
}

/// An address of node `n` that its Node object does not name.
pub fn node_secondary(family: IpFamily, n: u16) -> IpAddr {
    let six = v6([0xfd00, 0x172, 0x30, 1], digits(10 + n));
    pick(family, v4([172, 30, 1, 10], n), six)
}

/// The node's address towards its pods.
pub fn node_gateway(family: IpFamily, n: u16) -> IpAddr {
    pick(
        family,
        v4([10, 244, n as u8, 0], 1),
        v6([0xfd00, 0x10, 0x244, n], 1),
    )
}

/// Address of pod `i` (0 to 89) of node `n`.
pub fn pod_address(family: IpFamily, n: u16, i: u16) -> IpAddr {
    let six = v6([0xfd00, 0x10, 0x244, n], digits(10 + i));
    pick(family, v4([10, 244, n as u8, 10], i), six)
}

/// The pods of node `n`, as its Node object says.
pub fn pod_cidr(family: IpFamily, n: u16) -> String {
    match family {
        IpFamily::V4 => format!("10.244.{n}.0/24"),
        IpFamily::V6 => format!("fd00:10:244:{n}::/64"),
    }
}

/// The client's own address.
pub fn client_address(family: IpFamily) -> IpAddr {
    pick(
        family,
        v4([192, 168, 30, 100], 0),
        v6([0xfd00, 0x192, 0x30, 0], 0x100),
    )
}

/// One of the client's 65,535 further addresses.
pub fn client_alias(family: IpFamily, k: u16) -> IpAddr {
    pick(
        family,
        v4([10, 99, 0, 0], k),
        v6([0xfd00, 0x10, 0x99, 0], k),
    )
}

/// ClusterIP `i`, from 1.
pub fn cluster_ip(family: IpFamily, i: u16) -> IpAddr {
    pick(
        family,
        v4([10, 96, 0, 0], i),
        v6([0xfd00, 0x10, 0x96, 0], i),
    )
}

/// Load balancer address `i`, from 1.
pub fn load_balancer_ip(family: IpFamily, i: u16) -> IpAddr {
    pick(
        family,
        v4([172, 31, 0, 0], i),
        v6([0xfd00, 0x172, 0x31, 0], i),
    )
}

/// External address `i`, from 1.
pub fn external_ip(family: IpFamily, i: u16) -> IpAddr {
    pick(
        family,
        v4([172, 29, 0, 0], i),
        v6([0xfd00, 0x172, 0x29, 0], i),
    )
}
