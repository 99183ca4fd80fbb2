// SPDX-License-Identifier: Apache-2.0
//! Has the kernel trace a packet that is sent for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::send::Way;
use super::view::{KernelStep, KernelView};
use crate::backend::nft::marking::{About, Flow, Marking, Trace};
use crate::debug::explain::view::Verdict;
use crate::debug::rules::{self, RulesOptions};
use crate::model::{IpFamily, Protocol};
use crate::plan::trace::Packet;

/// How long the first word may take, and how long to wait for another one.
const FIRST: Duration = Duration::from_secs(3);
const NEXT: Duration = Duration::from_millis(300);

/// Sends the packet and tells what the kernel says of it.
///
/// # Errors
/// Missing rights or features; a packet that cannot be sent.
pub(super) fn probe(packet: &Packet) -> Result<KernelView> {
    if packet.protocol == Protocol::Sctp {
        bail!("--probe sends TCP and UDP only");
    }
    let way = Way::open(packet)?;
    let flow = Flow {
        family: IpFamily::of(packet.destination),
        destination: packet.destination,
        protocol: packet.protocol,
        source_port: way.source_port(),
        port: packet.port,
    };
    let mut marking = Marking::start(&flow).context("tracing")?;
    let sent = way.send(packet);
    let told = listen(&mut marking)?;
    // A packet that the rules refuse makes sending fail, which is an answer, too.
    if told.is_empty() {
        sent?;
        bail!(
            "the kernel told nothing of the packet within {} s",
            FIRST.as_secs()
        );
    }
    let own = marking.table().to_owned();
    Ok(view(packet, &own, told))
}

fn listen(marking: &mut Marking) -> Result<Vec<Trace>> {
    let mut all: Vec<Trace> = Vec::new();
    let mut until = Instant::now() + FIRST;
    while Instant::now() < until {
        let told = marking.told()?;
        if !told.is_empty() {
            until = Instant::now() + NEXT;
        }
        all.extend(told);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Others may have packets traced at the same time.
    let first = all
        .iter()
        .find(|t| t.table == marking.table())
        .map(|t| t.id);
    all.retain(|t| first.is_none_or(|id| t.id == id));
    Ok(all)
}

fn view(packet: &Packet, own: &str, told: Vec<Trace>) -> KernelView {
    let texts = Texts::of(&told, own);
    let asked = SocketAddr::new(packet.destination, packet.port);
    let gone_to = told.iter().rev().find_map(|t| t.destination);
    let translated = told.iter().any(|t| texts.translates(t));
    let endpoint = gone_to.filter(|at| *at != asked);
    let verdict = match told.iter().any(|t| t.verdict == DROP) {
        true => Verdict::Dropped,
        false if endpoint.is_some() || translated => Verdict::Forwarded,
        false => Verdict::Untouched,
    };
    let step = |t: &Trace| KernelStep {
        table: format!("{} {}", family(t.family), t.table),
        chain: t.chain.clone(),
        rule: match t.about {
            About::Policy => "policy".to_owned(),
            About::Return => "end of the chain".to_owned(),
            About::Rule(handle) => texts.get(t, handle),
        },
        verdict: words(t),
    };
    let foreign = told.iter().filter(|t| t.table != own);
    KernelView {
        verdict,
        endpoint,
        steps: foreign.map(step).collect(),
    }
}

const DROP: i32 = 0;

fn words(told: &Trace) -> String {
    let chain = told.leads_to.as_deref().unwrap_or_default();
    match told.verdict {
        DROP => "drop".to_owned(),
        1 => "accept".to_owned(),
        -1 => "continue".to_owned(),
        -3 => format!("jump {chain}"),
        -4 => format!("goto {chain}"),
        -5 => "return".to_owned(),
        other => format!("verdict {other}"),
    }
}

/// `NFPROTO_*` as nft's word.
fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "?",
    }
}

/// The rules' texts, by family, table, chain and handle.
struct Texts(HashMap<(String, String, String, u64), String>);

impl Texts {
    /// Of the tables that were met. What cannot be read any more stays a handle.
    fn of(told: &[Trace], own: &str) -> Self {
        let mut names: Vec<&str> = told.iter().map(|t| t.table.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut texts = HashMap::new();
        for name in names.into_iter().filter(|name| *name != own) {
            let listing = rules::listing(&RulesOptions {
                table: name.to_owned(),
                bare: true,
                elements: 0,
                ..RulesOptions::default()
            });
            for table in listing.map(|l| l.tables).unwrap_or_default() {
                for chain in table.chains {
                    for rule in chain.rules {
                        let (family, name) = (table.family.clone(), table.name.clone());
                        let key = (family, name, chain.name.clone(), rule.handle);
                        texts.insert(key, rule.text);
                    }
                }
            }
        }
        Self(texts)
    }

    fn get(&self, told: &Trace, handle: u64) -> String {
        let family = family(told.family).to_owned();
        let key = (family, told.table.clone(), told.chain.clone(), handle);
        let text = self.0.get(&key).cloned();
        text.unwrap_or_else(|| format!("rule {handle}"))
    }

    fn translates(&self, told: &Trace) -> bool {
        let About::Rule(handle) = told.about else {
            return false;
        };
        let text = self.get(told, handle);
        ["dnat ", "redirect"].iter().any(|word| text.contains(word))
    }
}
