// SPDX-License-Identifier: Apache-2.0
//! Consistent choice by a hash: rendezvous hashing. Of n endpoints, one that comes or goes moves
//! 1/n of the keys and no others, as with nginx's ring, without a ring to be built and kept.

use std::net::IpAddr;

use crate::model::Target;

/// FNV-1a, then mixed: short keys that differ little spread well. The same on all nodes and in
/// all versions, so that a key stays where it is when the process or the node changes.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finisher of SplitMix64.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The endpoint with the greatest weight for a key.
pub(super) fn rendezvous(endpoints: &[Target], tried: &[Target], key: u64) -> Option<Target> {
    let open = endpoints.iter().filter(|target| !tried.contains(target));
    open.max_by_key(|target| (mix(key ^ identity(target)), **target))
        .copied()
}

fn identity(target: &Target) -> u64 {
    let mut bytes = [0; 18];
    let address = match target.address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    bytes[..16].copy_from_slice(&address.octets());
    bytes[16..].copy_from_slice(&target.port.to_be_bytes());
    hash(&bytes)
}
