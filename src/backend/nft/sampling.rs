// SPDX-License-Identifier: Apache-2.0
//! A table of its own that lets connection tracking tell of the end of one in so many flows that
//! go through Services, and not of the others' (`ct event set`).
//!
//! Its chains are of type nat, so that a flow's first packet alone meets them.

use super::encode::{compare, condition, events, hash, load_ct, load_key, verdict};
use super::owned::Owned;
use super::uapi::{ct, data};
use crate::backend::Error;
use crate::backend::netlink::Writer;
use crate::model::IpFamily;
use crate::plan::nft::{Field, Hook, Match};

/// The table's name, in both families.
pub const TABLE: &str = "ferrule-sample";
/// Before our own chains end the hook (100).
const PRIORITY: i32 = 99;
/// Where a flow's first packet is seen that has been translated: one of them for each flow.
const HOOKS: [Hook; 2] = [Hook::Postrouting, Hook::Input];

/// The table, while it is there.
#[derive(Debug)]
pub struct Sampling {
    table: Owned,
    /// Of the hash that chooses.
    seed: u32,
}

impl Sampling {
    /// Makes the table, which does nothing yet: all ends are told.
    ///
    /// # Errors
    /// The kernel's; `EOPNOTSUPP` or `EINVAL` if it knows no owners of tables.
    pub fn start(seed: u32) -> Result<Self, Error> {
        let mut table = Owned::new(TABLE)?;
        table.commit("add table", |batch| {
            for family in IpFamily::ALL {
                batch.table(family);
                for hook in HOOKS {
                    batch.chain(family, hook, "nat", PRIORITY);
                }
            }
        })?;
        Ok(Self { table, seed })
    }

    /// From now on the ends of one in so many flows that begin are told; of all, if it is 1.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub fn one_in(&mut self, number: u32) -> Result<(), Error> {
        let seed = self.seed;
        let chains = IpFamily::ALL
            .into_iter()
            .flat_map(|f| HOOKS.map(|h| (f, h)));
        self.table.commit("replace rules", |batch| {
            for (family, hook) in chains {
                batch.flush(family, hook);
                if number > 1 {
                    batch.rule(family, hook, |w| told(w, family, number, seed));
                    batch.rule(family, hook, |w| untold(w, family));
                }
            }
        })
    }
}

/// `ct status dnat jhash ct original saddr . ct original proto-src mod N seed S == 0 ct event set
/// destroy return`
fn told(w: &mut Writer, family: IpFamily, number: u32, seed: u32) {
    condition(w, &Match::Translated, family, 0);
    let port = load_key(w, &[Field::OriginalSource], family, KEY);
    load_ct(w, ct::PROTO_SRC, Some(ct::ORIGINAL), port);
    hash(w, KEY, (port + 1 - KEY) * 4, number, seed);
    compare(w, false, &[0; 4]);
    events(w, ct::DESTROY);
    verdict(w, data::RETURN, None);
}

/// `ct status dnat ct event set 0`
fn untold(w: &mut Writer, family: IpFamily) {
    condition(w, &Match::Translated, family, 0);
    events(w, 0);
}

/// The first of the 32-bit slots that the hash reads: register 2.
const KEY: usize = 4;
