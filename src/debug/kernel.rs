// SPDX-License-Identifier: Apache-2.0
//! What the kernel holds of ours, as the values that we plan with, so that the same code can walk
//! and compare both. Needs no agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::rules::{self, RulesOptions};
use crate::backend::ipvs::virtuals;
use crate::backend::nft::Kernel;
use crate::backend::{Error, Nftables};
use crate::model::IpFamily;
use crate::plan::Ruleset;
use crate::plan::nft::element::address_from;
use crate::plan::nft::{Base, ChainSpec, Hook, SetId, SetName, parse};
use crate::plan::trace::World;
use crate::watch;

/// A chain that only IPVS mode has.
const OF_IPVS: &str = "source-nat-node";
/// How often a reading is begun anew because a commit came in between.
const ATTEMPTS: usize = 10;

/// One family's table, and in IPVS mode its virtual servers.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Chains, sets and elements. Of a Service's own maps only the names are known.
    pub ruleset: Ruleset,
    /// Rules that are none of ours: the chain, and the rule's text.
    pub strange: Vec<(String, String)>,
    /// Sticky clients, by map and client.
    pub clients: BTreeMap<(SetName, IpAddr), IpAddr>,
}

impl Held {
    /// Whether it was written in IPVS mode.
    pub fn ipvs(&self) -> bool {
        self.ruleset.chains.contains_key(&OF_IPVS.into())
    }
}

/// What a node holds.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By family; a family without a table is missing.
    pub families: BTreeMap<IpFamily, Held>,
    /// This host's addresses.
    pub local: BTreeSet<IpAddr>,
}

impl Snapshot {
    /// What tracing has to know of this host.
    pub fn world(&self, family: IpFamily) -> World {
        World {
            local: self.local.clone(),
            clients: self
                .families
                .get(&family)
                .map(|held| held.clients.clone())
                .unwrap_or_default(),
            // Frontends at other nodes' addresses are in the table, not among virtual servers.
            elsewhere: BTreeSet::new(),
        }
    }
}

/// Reads everything, of the network namespace that the thread is in.
///
/// # Errors
/// Missing rights; the kernel's errors.
pub fn read() -> Result<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = runtime.block_on(watch::addresses::list())?;
    let mut kernel = Kernel::open()?;
    for attempt in 1..=ATTEMPTS {
        let before = kernel.generation().context("reading nftables")?;
        let families = families(&mut kernel);
        if kernel.generation()? != before && attempt < ATTEMPTS {
            continue;
        }
        return Ok(Snapshot {
            families: families?,
            local: local.into_iter().collect(),
        });
    }
    bail!("the rules changed each of the {ATTEMPTS} times they were being read; try again")
}

/// The address that this host would send from, by its routes; sends nothing.
pub(super) fn source_to(destination: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match destination {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((destination, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn families(kernel: &mut Kernel) -> Result<BTreeMap<IpFamily, Held>> {
    let listing = rules::listing(&RulesOptions {
        elements: 0,
        bare: true,
        ..RulesOptions::default()
    })?;
    let mut found = BTreeMap::new();
    for table in &listing.tables {
        let family = match table.family.as_str() {
            "ip" => IpFamily::V4,
            "ip6" => IpFamily::V6,
            _ => continue,
        };
        let mut held = Held::default();
        chains(table, &mut held);
        sets(kernel, family, table, &mut held)?;
        if held.ipvs() {
            held.ruleset.servers = virtuals::read(family).context("reading virtual servers")?;
        }
        found.insert(family, held);
    }
    Ok(found)
}

fn chains(table: &rules::Table, held: &mut Held) {
    for chain in &table.chains {
        let mut rules = Vec::new();
        for rule in &chain.rules {
            match parse::rule(&rule.text) {
                Some(rule) => rules.push(rule),
                None => held.strange.push((chain.name.clone(), rule.text.clone())),
            }
        }
        let hook = chain.hook.as_deref();
        let base = hook.and_then(Hook::from_word).zip(chain.priority);
        let spec = ChainSpec {
            name: chain.name.as_str().into(),
            base: base.map(|(hook, priority)| Base { hook, priority }),
            rules,
        };
        held.ruleset
            .chains
            .insert(spec.name.clone(), Arc::new(spec));
    }
}

fn sets(
    kernel: &mut Kernel,
    family: IpFamily,
    table: &rules::Table,
    held: &mut Held,
) -> Result<()> {
    for set in &table.sets {
        let name = parse::set_name(&set.name);
        match &name {
            SetName::Fixed(id) => elements(kernel, family, *id, held)?,
            SetName::Own(_) => {
                for (key, endpoint) in kernel.read_clients(family, &name).or_else(gone)? {
                    if let Some(client) = address_from(key.as_bytes()) {
                        held.clients.insert((name.clone(), client), endpoint);
                    }
                }
            }
        }
        let spec = match &name {
            SetName::Fixed(id) => id.spec(),
            SetName::Own(_) => crate::plan::nft::SetSpec {
                key: vec![crate::plan::nft::Field::Source],
                data: crate::plan::nft::DataKind::Address,
                interval: false,
                dynamic: set.size,
                name: name.clone(),
            },
        };
        held.ruleset.sets.insert(name, Arc::new(spec));
    }
    Ok(())
}

fn elements(kernel: &mut Kernel, family: IpFamily, set: SetId, held: &mut Held) -> Result<()> {
    for element in kernel.read_elements(family, set).or_else(gone)? {
        held.ruleset.elements.insert((set, element.key), element);
    }
    Ok(())
}

/// A set that went meanwhile is empty; the reading is begun anew then anyway.
fn gone<T>(error: Error) -> Result<Vec<T>, Error> {
    match error.errno() {
        Some(nix::libc::ENOENT) => Ok(Vec::new()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::in_namespace;
    use crate::plan::fixture::{dual_stack, options, plan_all};
    use crate::plan::{Options, resync};

    /// What the plan commits is what is read: chains, rules, sets and elements.
    #[test]
    fn the_plan_is_read_back() {
        in_namespace(|| {
            let options = Options {
                reset_stale_tcp: true,
                drop_invalid: true,
                ..options()
            };
            let mut kernel = Kernel::open().unwrap();
            for family in IpFamily::ALL {
                let ledger = plan_all(&dual_stack(), &options, family);
                for commit in resync::from_nothing(&ledger) {
                    kernel.commit(family, &commit).unwrap();
                }
            }
            let snapshot = read().unwrap();
            for family in IpFamily::ALL {
                let wanted = plan_all(&dual_stack(), &options, family).ruleset();
                let held = &snapshot.families[&family];
                assert_eq!(held.strange, []);
                for (name, chain) in &wanted.chains {
                    assert_eq!(held.ruleset.chains.get(name), Some(chain), "{name}");
                }
                assert_eq!(held.ruleset, wanted, "{family}");
            }
        });
    }

    #[test]
    fn no_table_is_no_error() {
        in_namespace(|| assert_eq!(read().unwrap().families.len(), 0));
    }
}
