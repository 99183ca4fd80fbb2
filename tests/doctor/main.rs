// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug doctor` against seeded faults: a healthy node in a network namespace, one thing
//! broken, and the cause in the output. Every kind of finding has at least one.
//!
//! | module | breaks |
//! |---|---|
//! | `rig` | nothing: the healthy node, its objects, a stub of an API server |
//! | `node` | the kernel's side, for real |
//! | `objects` | objects, the agent, the API server |
//! | `counted` | nothing: connections and bytes, and where flows go |
//! | `injected` | what cannot be broken here: facts are made up |

mod counted;
mod injected;
mod node;
mod objects;
mod rig;

use std::collections::BTreeSet;

use ferrule::debug::doctor::Kind;

/// No kind may lack a fault.
#[test]
fn every_kind_has_a_fault() {
    let faults = node::FAULTS.iter().chain(objects::FAULTS).map(|f| f.kind);
    let seeded: BTreeSet<Kind> = faults.chain(injected::KINDS.iter().copied()).collect();
    let missing: Vec<_> = Kind::ALL.iter().filter(|k| !seeded.contains(k)).collect();
    assert!(missing.is_empty(), "without a fault: {missing:?}");
    let count = node::FAULTS.len() + objects::FAULTS.len() + injected::KINDS.len();
    assert!(count >= 30, "only {count} faults");
}
