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

/// Those of the virtual servers that may be deleted: the `near` ones, and those where our table
/// says that we serve.
///
/// # Errors
/// The kernel's, if the table has to be read.
pub(super) fn among<'a>(
    unwanted: impl Iterator<Item = &'a ServerKey>,
    options: &IpvsOptions,
    near: impl Fn(&ServerKey) -> bool,
    family: IpFamily,
    tables: &mut dyn Nftables,
) -> Result<BTreeSet<ServerKey>, Error> {
    let (mut ours, elsewhere): (BTreeSet<ServerKey>, BTreeSet<ServerKey>) = unwanted
        .filter(|key| !excluded(options, key.address))
        .partition(|key| near(key));
    if !elsewhere.is_empty() {
        let known = frontends(family, tables)?;
        ours.extend(elsewhere.intersection(&known));
    }
    Ok(ours)
}

/// Whether nothing at an address is removed, whoever made it.
pub(super) fn excluded(options: &IpvsOptions, address: IpAddr) -> bool {
    let mut prefixes = options.exclude_cidrs.iter();
    prefixes.any(|net| net.contains(&address))
}

/// What an earlier process served, by its table.
fn frontends(family: IpFamily, kernel: &mut dyn Nftables) -> Result<BTreeSet<ServerKey>, Error> {
    let mut known = BTreeSet::new();
    if kernel.read_table(family)?.is_none() {
        return Ok(known);
    }
    // A table of another make may lack a set.
    let mut read = |set| kernel.read_elements(family, set).unwrap_or_default();
    let served = read(SetId::NodeAddresses);
    let node: Vec<IpAddr> = served
        .iter()
        .filter_map(|e| address_from(e.key.as_bytes()))
        .collect();
    for id in FRONTENDS {
        for element in read(id) {
            match *element.key.parts(&id.spec().key, family) {
                [
                    KeyPart::Address(a),
                    KeyPart::Protocol(p),
                    KeyPart::Port(port),
                ] => {
                    known.extend(server_key(a, p, port));
                }
                [KeyPart::Protocol(p), KeyPart::Port(port)] => {
                    known.extend(node.iter().filter_map(|a| server_key(*a, p, port)));
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
