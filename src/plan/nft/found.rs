// SPDX-License-Identifier: Apache-2.0
//! Our table as it was found in the kernel, and the fingerprints by which we know our own work.

use super::{Base, ChainName, Rule, SetName, SetSpec, text};
use crate::model::IpFamily;

/// Our table as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableState {
    /// All chains.
    pub chains: Vec<ChainState>,
    /// All named sets and maps, with the fingerprint of the definition that made each.
    pub sets: Vec<(SetName, Option<u64>)>,
}

/// A chain as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Name.
    pub name: ChainName,
    /// Present for base chains.
    pub base: Option<Base>,
    /// One entry a rule: the fingerprint that we gave it, or None for a rule that is not ours.
    pub rules: Vec<Option<u64>>,
}

/// FNV-1a, 64 bits: small, and the same in every build.
fn fnv(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The fingerprint that a rule carries in the kernel.
pub fn rule_fingerprint(rule: &Rule, family: IpFamily) -> u64 {
    fnv(&text::rule(rule, family))
}

/// The fingerprint that a set carries in the kernel.
pub fn set_fingerprint(set: &SetSpec, family: IpFamily) -> u64 {
    fnv(&text::set(set, family))
}
