// SPDX-License-Identifier: Apache-2.0
//! Which of the virtual servers found are ours: the kernel keeps no owner.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::backend::{Error, Nftables};
use crate::model::{IpFamily, Protocol};
use crate::plan::IpvsOptions;
use crate::plan::ipvs::ServerKey;
use crate::plan::nft::SetId;
use crate::plan::nft::element::{KeyPart, address_from};

/// The table's maps that hold a key for each virtual server.
const FRONTENDS: [SetId; 6] = [
    SetId::Services,
    SetId::ServicesOutside,
    SetId::RefusedServices,
    SetId::Nodeports,
    SetId::NodeportsOutside,
    SetId::RefusedNodeports,
];

/// What the table in the kernel says of an earlier process.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where it served.
    pub frontends: BTreeSet<ServerKey>,
    /// The addresses of its Services.
    pub addresses: BTreeSet<IpAddr>,
}

/// Whether nothing at an address is removed, whoever made it.
pub(super) fn excluded(options: &IpvsOptions, address: IpAddr) -> bool {
    let mut prefixes = options.exclude_cidrs.iter();
    prefixes.any(|net| net.contains(&address))
}

/// Reads the table; one that is not there says nothing.
///
/// # Errors
/// The kernel's.
pub(super) fn read(family: IpFamily, kernel: &mut dyn Nftables) -> Result<Known, Error> {
    let mut known = Known::default();
    if kernel.read_table(family)?.is_none() {
        return Ok(known);
    }
    // A table of another make may lack a set.
    let mut read = |set| kernel.read_elements(family, set).unwrap_or_default();
    let mut addresses = |set| {
        let all = read(set).into_iter();
        all.filter_map(|e| address_from(e.key.as_bytes()))
            .collect::<BTreeSet<IpAddr>>()
    };
    let node = addresses(SetId::NodeAddresses);
    known.addresses = addresses(SetId::ServiceAddresses);
    for id in FRONTENDS {
        for element in read(id) {
            match *element.key.parts(&id.spec().key, family) {
                [
                    KeyPart::Address(a),
                    KeyPart::Protocol(p),
                    KeyPart::Port(port),
                ] => {
                    known.frontends.extend(server_key(a, p, port));
                }
                [KeyPart::Protocol(p), KeyPart::Port(port)] => {
                    let of_node = node.iter().filter_map(|a| server_key(*a, p, port));
                    known.frontends.extend(of_node);
                }
                _ => {}
            }
        }
    }
    Ok(known)
}

fn server_key(address: IpAddr, protocol: u8, port: u16) -> Option<ServerKey> {
    let mut protocols = Protocol::ALL.into_iter();
    let protocol = protocols.find(|p| p.number() == protocol)?;
    Some(ServerKey {
        address,
        protocol,
        port,
    })
}
