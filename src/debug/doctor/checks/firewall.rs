// SPDX-License-Identifier: Apache-2.0
//! Rules of others that decide on packets of Services.
//!
//! Before the translation (hooks prerouting and output, up to priority -100) a packet has the
//! Service's address, after it the endpoint's. A rule that asks for more than the destination is
//! somebody's policy and not judged here, nor is one that a rule asking for more leads to.

use std::net::IpAddr;

use super::words::{Does, Words};
use super::{Facts, Finding, Report, listed, name};
use crate::backend::nft::forward::{ForwardChain, TableFamily};
use crate::debug::doctor::facts::node::Table;
use crate::debug::doctor::{Kind, Unread};
use crate::debug::rules::Chain;
use crate::observe::forward::Obstacle;
use crate::observe::view::Protocol;

/// Where nat chains translate (`NF_IP_PRI_NAT_DST`).
const TRANSLATION: i32 = -100;
/// How deep chains are followed; the kernel allows 16.
const DEPTH: usize = 16;

/// Where packets of a Service go to.
type Destination = (IpAddr, u16, Protocol, String);

/// Looks through the chains of others.
pub(super) fn firewall(facts: &Facts, report: &mut Report) {
    // What cannot be read is told once, with the rules of other proxies.
    let Ok(tables) = &facts.node.tables else {
        return;
    };
    let (before, after) = (frontends(facts), endpoints(facts));
    for table in tables
        .iter()
        .filter(|t| !["ferrule", "kube-proxy"].contains(&&*t.name))
    {
        if table.unread {
            let why = Unread::Unavailable("too many chains".into());
            report.unread(
                format!("rules of table {} {}", table.family, table.name),
                &why,
            );
        }
        for chain in &table.chains {
            let priority = chain.priority.unwrap_or_default();
            let destinations = match chain.hook.as_deref() {
                Some("prerouting" | "output") if priority <= TRANSLATION => &before,
                Some("prerouting" | "output" | "forward" | "postrouting") => &after,
                _ => continue,
            };
            let mut walk = Walk {
                table,
                base: chain,
                destinations,
                report,
                told: Vec::new(),
                accepted: Vec::new(),
                all_dropped: None,
            };
            walk.chain(chain, &Words::any(), 0);
            let (accepted, all_dropped) = (walk.accepted, walk.all_dropped);
            if chain.hook.as_deref() == Some("forward") {
                forward(table, chain, &accepted, all_dropped, &after, report);
            }
        }
    }
    for family in &facts.node.legacy_filter {
        let why = Unread::Unavailable("nf_tables does not show it".into());
        let program = match family {
            crate::model::IpFamily::V4 => "iptables-legacy",
            crate::model::IpFamily::V6 => "ip6tables-legacy",
        };
        report.unread(
            format!("the FORWARD policy of {program} ({program} -S FORWARD)"),
            &why,
        );
    }
}

/// Every address and port that Services answer on, NodePorts by the host's addresses.
fn frontends(facts: &Facts) -> Vec<Destination> {
    let links = facts.node.links.as_deref().unwrap_or_default().iter();
    let own = links.flat_map(|l| &l.addresses).map(|net| net.addr());
    let own: Vec<IpAddr> = own.filter(|a| !a.is_loopback()).collect();
    let mut all = Vec::new();
    for (service, frontend) in facts.frontends() {
        let v6 = frontend.family == crate::observe::view::Family::IPv6;
        let addresses = match frontend.address {
            Some(address) => vec![address],
            None => own.iter().copied().filter(|a| a.is_ipv6() == v6).collect(),
        };
        let entry = |a| (a, frontend.port, frontend.protocol, name(service));
        all.extend(addresses.into_iter().map(entry));
    }
    all
}

fn endpoints(facts: &Facts) -> Vec<Destination> {
    let mut all = Vec::new();
    for (service, frontend) in facts.frontends() {
        let used = frontend.endpoints.iter().filter(|e| e.used.is_some());
        all.extend(used.map(|e| (e.address, e.port, frontend.protocol, name(service))));
    }
    all
}

/// A way through the chains of a table.
struct Walk<'a> {
    table: &'a Table,
    base: &'a Chain,
    destinations: &'a [Destination],
    report: &'a mut Report,
    /// Handles of the rules that have been told.
    told: Vec<u64>,
    /// What is accepted for good.
    accepted: Vec<Words>,
    /// A rule of the base chain that drops everything.
    all_dropped: Option<String>,
}

impl Walk<'_> {
    fn chain(&mut self, chain: &Chain, asked: &Words, depth: usize) {
        for rule in &chain.rules {
            let words = asked.and(&Words::read(&rule.text, self.table));
            match &words.does {
                Does::To(name) if depth < DEPTH => {
                    let table = self.table;
                    if let Some(next) = table.chains.iter().find(|c| c.name == *name) {
                        self.chain(next, &words, depth + 1);
                    }
                }
                Does::Accept if !words.more => self.accepted.push(words),
                Does::Drop if depth == 0 && !words.more && !words.names_something() => {
                    let unlimited = words.protocols.is_none() && !words.translated;
                    if unlimited {
                        self.all_dropped = Some(rule.text.clone());
                    }
                }
                Does::Drop | Does::Translate | Does::Untrack
                    if !words.more
                        && words.names_something()
                        && !self.told.contains(&rule.handle) =>
                {
                    self.told.push(rule.handle);
                    self.tell(&words, &chain.name, &rule.text);
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, words: &Words, chain: &str, text: &str) {
        let concerned = |(to, port, protocol, _): &&Destination| {
            let family = match self.table.family.as_str() {
                "ip" => to.is_ipv4(),
                "ip6" => to.is_ipv6(),
                _ => true,
            };
            family && words.covers(*to, *port, *protocol)
        };
        let hit = self.destinations.iter().filter(concerned);
        let hit: Vec<String> = hit
            .map(|(to, port, _, service)| {
                format!("{} of {service}", std::net::SocketAddr::new(*to, *port))
            })
            .collect();
        if hit.is_empty() {
            return;
        }
        let (kind, what, advice) = match words.does {
            Does::Drop => (
                Kind::ForeignDrop,
                "a rule of another program drops or rejects",
                "change or remove the rule: a packet that is dropped anywhere is lost, whatever \
                 other tables say",
            ),
            Does::Translate => (
                Kind::ForeignDnat,
                "a rule of another program gives another destination to",
                "change or remove the rule: of two translations the first one counts",
            ),
            _ => (
                Kind::ForeignNotrack,
                "a rule of another program keeps from being tracked, and so from being translated,",
                "leave the Service's addresses out of the notrack rule",
            ),
        };
        let hook = self.base.hook.as_deref().unwrap_or_default();
        let (family, table) = (&self.table.family, &self.table.name);
        self.report.add(Finding::new(
            kind,
            format!("{what} packets to {}", listed(hit)),
            format!("table {family} {table}, chain {chain} (hook {hook}): {text}"),
            advice,
        ));
    }
}

/// A chain at the forward hook that drops what it does not know, and does not know Services.
fn forward(
    table: &Table,
    chain: &Chain,
    accepted: &[Words],
    all_dropped: Option<String>,
    endpoints: &[Destination],
    report: &mut Report,
) {
    let policy = chain.policy == Some("drop");
    let family = match table.family.as_str() {
        "ip" => TableFamily::Ip,
        "ip6" => TableFamily::Ip6,
        "inet" => TableFamily::Inet,
        _ => return,
    };
    let passes = |(to, port, protocol, _): &Destination| {
        accepted.iter().any(|w| w.covers(*to, *port, *protocol))
    };
    let of_family = |to: &IpAddr| match family {
        TableFamily::Ip => to.is_ipv4(),
        TableFamily::Ip6 => to.is_ipv6(),
        TableFamily::Inet => true,
    };
    let mut concerned = endpoints.iter().filter(|(to, ..)| of_family(to)).peekable();
    // Nothing to be forwarded in this family.
    if !(policy || all_dropped.is_some()) || concerned.peek().is_none() {
        return;
    }
    if concerned.all(passes) {
        return;
    }
    let obstacle = Obstacle::Policy(ForwardChain {
        family,
        table: table.name.clone(),
        name: chain.name.clone(),
        priority: chain.priority.unwrap_or_default(),
        drops: true,
    });
    let text = obstacle.to_string();
    let advice = text
        .split_once("to let it pass: ")
        .map_or("", |(_, rule)| rule);
    report.add(Finding::new(
        Kind::ForwardDrop,
        "a firewall drops at the forward hook what it does not know: traffic of Services is lost",
        match all_dropped {
            Some(rule) => format!(
                "{} {}, chain {}: {rule}",
                table.family, table.name, chain.name
            ),
            None => format!(
                "{} {}, chain {}: policy drop",
                table.family, table.name, chain.name
            ),
        },
        format!("before its last rule: {advice}"),
    ));
}
