// SPDX-License-Identifier: Apache-2.0
//! Who sends a packet: from the words of a command line, or an example of its kind.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, anyhow, bail};

use super::ask::From;
use crate::debug::kernel::{self, Held, Snapshot};
use crate::model::{IpFamily, Protocol};
use crate::plan::nft::element::address_from;
use crate::plan::nft::{Field, Match, SetId};
use crate::plan::trace::Packet;

/// An interface that is nobody's.
const SOME: &str = "(some)";

/// How the rules tell pods.
enum Pods {
    Unknown,
    Prefix(ipnet::IpNet),
    Interface(String),
}

fn pods(held: &Held) -> Pods {
    let chains = held.ruleset.chains.values();
    let conditions = chains
        .flat_map(|chain| &chain.rules)
        .flat_map(|rule| &rule.matches);
    conditions
        .filter_map(|condition| match condition {
            Match::Prefix(Field::Source, net, _) => Some(Pods::Prefix(*net)),
            Match::Interface(name, _) => Some(Pods::Interface(name.to_string())),
            _ => None,
        })
        .next()
        .unwrap_or(Pods::Unknown)
}

/// The packet, who sends it in words, and what to know about that.
///
/// # Errors
/// If the families differ, or this node has no address of the family.
pub fn packet(
    snapshot: &Snapshot,
    from: From,
    interface: Option<&str>,
    to: SocketAddr,
    protocol: Protocol,
) -> Result<(Packet, String, Vec<String>)> {
    let family = IpFamily::of(to.ip());
    let none = Held::default();
    let held = snapshot.families.get(&family).unwrap_or(&none);
    if let From::Address(address) = from
        && IpFamily::of(address) != family
    {
        bail!(
            "{address} can't connect to {}: the families differ",
            to.ip()
        );
    }
    let sender = Sender {
        snapshot,
        held,
        family,
        to: to.ip(),
    };
    let (source, by, who, notes) = sender.of(from)?;
    let by = interface.map(str::to_owned).or(by);
    let packet = Packet {
        source,
        destination: to.ip(),
        protocol,
        port: to.port(),
        interface: by.map(Into::into),
    };
    Ok((packet, who, notes))
}

struct Sender<'a> {
    snapshot: &'a Snapshot,
    held: &'a Held,
    family: IpFamily,
    to: IpAddr,
}

/// Source, interface, who it is, and notes.
type Origin = (IpAddr, Option<String>, String, Vec<String>);

impl Sender<'_> {
    fn of(&self, from: From) -> Result<Origin> {
        match from {
            From::Node => self.node(),
            From::Pod => Ok(self.pod()),
            From::Outside => {
                let example = match self.family {
                    IpFamily::V4 => "198.51.100.1".parse()?,
                    IpFamily::V6 => "2001:db8::1".parse()?,
                };
                let who = "outside the cluster (an example)".to_owned();
                Ok((example, Some(SOME.to_owned()), who, Vec::new()))
            }
            From::Address(address) => Ok(self.address(address)),
        }
    }

    fn node(&self) -> Result<Origin> {
        let who = "this node".to_owned();
        let local = &self.snapshot.local;
        if self.to.is_loopback() || local.contains(&self.to) {
            return Ok((self.to, None, who, Vec::new()));
        }
        let routed = kernel::source_to(self.to).filter(|address| local.contains(address));
        if let Some(source) = routed {
            return Ok((source, None, who, Vec::new()));
        }
        let served = self.held.ruleset.elements_of(SetId::NodeAddresses);
        let mut served = served.filter_map(|e| address_from(e.key.as_bytes()));
        let own = served.find(|address| local.contains(address));
        let any = || {
            local
                .iter()
                .copied()
                .find(|a| IpFamily::of(*a) == self.family)
        };
        let source = own.or_else(any);
        let source = source.ok_or_else(|| anyhow!("this node has no {} address", self.family))?;
        Ok((source, None, who, Vec::new()))
    }

    fn pod(&self) -> Origin {
        let some = |text: &str| {
            let who = "a pod (an example)".to_owned();
            (text.parse().unwrap_or(self.to), who)
        };
        let anywhere = match self.family {
            IpFamily::V4 => "198.51.100.2",
            IpFamily::V6 => "2001:db8::2",
        };
        match pods(self.held) {
            Pods::Prefix(net) => {
                // The last one that is an address, as the first ones are gateways.
                let last = match net {
                    ipnet::IpNet::V4(net) => net.hosts().next_back().map(IpAddr::V4),
                    ipnet::IpNet::V6(net) => Some(IpAddr::V6(net.broadcast())),
                };
                let (_, who) = some("");
                let source = last.unwrap_or(net.addr());
                (source, Some(SOME.to_owned()), who, Vec::new())
            }
            Pods::Interface(pattern) => {
                let (source, who) = some(anywhere);
                let name = match pattern.strip_suffix('*') {
                    Some(prefix) => format!("{prefix}0"),
                    None => pattern,
                };
                let note = format!(
                    "pods are told by the interface that their packets come in by; {name} stands \
                     for one"
                );
                (source, Some(name), who, vec![note])
            }
            Pods::Unknown => {
                let (source, who) = some(anywhere);
                let note = "the rules can't tell pods from others (no --cluster-cidr, or another \
                            --detect-local-mode without what it needs)";
                (source, Some(SOME.to_owned()), who, vec![note.to_owned()])
            }
        }
    }

    fn address(&self, address: IpAddr) -> Origin {
        if address.is_loopback() || self.snapshot.local.contains(&address) {
            return (address, None, "this node".to_owned(), Vec::new());
        }
        let by = Some(SOME.to_owned());
        match pods(self.held) {
            Pods::Prefix(net) if net.contains(&address) => {
                (address, by, format!("a pod (in {net})"), Vec::new())
            }
            Pods::Prefix(net) => {
                let who = format!("outside the pods' {net}");
                (address, by, who, Vec::new())
            }
            Pods::Interface(pattern) => {
                let note = format!(
                    "pods are told by the interface {pattern:?}; without --interface it is taken \
                     for no pod's"
                );
                (address, by, "another host".to_owned(), vec![note])
            }
            Pods::Unknown => (address, by, "another host".to_owned(), Vec::new()),
        }
    }
}
