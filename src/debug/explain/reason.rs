// SPDX-License-Identifier: Apache-2.0
//! Why, in a sentence: from the rule that decided.

use super::view::FrontendAnswer;
use crate::debug::kernel::Held;
use crate::observe::view::FrontendKind;
use crate::plan::nft::element::KeyPart;
use crate::plan::nft::{Action, Field, Key, Match, SetId, SetName, Verdict};
use crate::plan::trace::{Fate, Found, Outcome, Packet, RuleStep, Step, Way};

/// Why the packet comes to its end.
pub(super) fn verdict(
    way: &Way,
    held: &Held,
    packet: &Packet,
    frontend: Option<&FrontendAnswer>,
) -> String {
    let place = format!("{}/{}", packet.port, packet.protocol);
    let (at, last) = (packet.destination, last(&way.steps));
    let chain = last.map_or("", |step| step.chain.as_str());
    match way.fates.first().map(|(fate, _)| *fate) {
        Some(Fate::Endpoint(..)) => match way.fates.len() {
            1 => "it goes to the one endpoint there is for it".to_owned(),
            n => format!("it goes to one of {n} endpoints, chosen {}", chosen(way)),
        },
        Some(Fate::Rejected) => match chain {
            "no-endpoints" | "node-no-endpoints" => "the Service has no usable endpoint".to_owned(),
            "refused" if at_cluster_ip(held, packet) => {
                format!("{at} is a ClusterIP, but its Service has no port {place}")
            }
            "refused" => format!("{at} is a Service's address, but it has no port {place}"),
            _ if matches!(way.steps.last(), Some(Step::Server(..))) => {
                "the virtual server has no real server that takes connections".to_owned()
            }
            _ => format!("a rule of chain {chain} rejects it"),
        },
        Some(Fate::Dropped) => dropped(last, at),
        Some(Fate::Untouched) | None => untouched(way, held, packet, frontend),
    }
}

fn chosen(way: &Way) -> &'static str {
    match way.steps.last() {
        Some(Step::Server(..)) => "by IPVS",
        _ => "at random",
    }
}

fn dropped(last: Option<&RuleStep>, at: std::net::IpAddr) -> String {
    let refused = |step: &RuleStep| {
        let by = |found: &Found| {
            matches!(found, Found::Element(e) if [SetId::RefusedServices,
            SetId::RefusedNodeports].contains(&e.set))
        };
        step.found.iter().any(by)
    };
    match last {
        Some(step) if step.chain.as_str().starts_with("ranges-") => {
            "the source is in none of the Service's loadBalancerSourceRanges".to_owned()
        }
        Some(step) if step.chain.as_str() == "unallocated" => {
            format!("{at} lies in a Service CIDR, but no Service has it")
        }
        Some(step) if step.chain.as_str() == "no-local" || refused(step) => {
            "traffic policy Local, and no usable endpoint is on this node".to_owned()
        }
        Some(step) => format!("a rule of chain {} drops it", step.chain),
        None => "it is dropped".to_owned(),
    }
}

fn untouched(way: &Way, held: &Held, packet: &Packet, frontend: Option<&FrontendAnswer>) -> String {
    let (at, port, protocol) = (packet.destination, packet.port, packet.protocol);
    let has = |set: SetId| {
        let key = Key::EMPTY.address(at);
        held.ruleset.find(set, &key).is_some()
    };
    let own = last(&way.steps).is_some_and(|s| s.chain.as_str() == "node-no-endpoints");
    if own {
        return "the Service has no usable endpoint; this host's own packet goes on to the port of \
                the host, where nobody listens"
            .to_owned();
    }
    if frontend.and_then(|f| f.kind) == Some(FrontendKind::NodePort) {
        return format!("{port}/{protocol} is a NodePort, but no rule takes this packet");
    }
    match (has(SetId::ServiceAddresses), has(SetId::NodeAddresses)) {
        (true, _) => format!(
            "{at} is a Service's address, but not with port {port}/{protocol}: it goes on as if \
             there were no Service"
        ),
        (false, true) => format!("no Service has the NodePort {port}/{protocol}"),
        (false, false) => format!("{at} is neither a Service's address nor one with NodePorts"),
    }
}

fn at_cluster_ip(held: &Held, packet: &Packet) -> bool {
    let key = Key::EMPTY.address(packet.destination);
    held.ruleset.find(SetId::ClusterIps, &key).is_some()
}

/// The last rule that did something.
fn last(steps: &[Step]) -> Option<&RuleStep> {
    let mut done = steps.iter().rev().filter_map(|step| match step {
        Step::Rule(rule) if rule.outcome == Outcome::Done => Some(rule),
        _ => None,
    });
    done.next()
}

/// Why an endpoint sees this node's address, or does not.
pub(super) fn masquerade(steps: &[Step], masqueraded: bool, held: &Held) -> String {
    let Some(rule) = last(steps).filter(|_| masqueraded) else {
        return unchanged(held);
    };
    let in_set = |sets: &[SetId]| {
        let by = |m: &Match| matches!(m, Match::InSet(_, SetName::Fixed(id)) if sets.contains(id));
        rule.rule.matches.iter().any(by)
    };
    let told = |m: &Match| matches!(m, Match::Prefix(_, _, true) | Match::Interface(_, true));
    let text = if in_set(&[SetId::Hairpin]) {
        "the endpoint talks to itself, and would not take its own address for the answer's"
    } else if in_set(&[SetId::MasqueradeServices, SetId::MasqueradeNodeports]) {
        "with external traffic policy Cluster the answer has to come back by this node"
    } else if in_set(&[SetId::LocalServices, SetId::LocalNodeports]) {
        "this host talks to a Service of policy Local, whose endpoint may be elsewhere"
    } else if in_set(&[SetId::ServiceAddresses]) {
        "the host has taken the Service's address for its source, as kube-ipvs0 has it"
    } else if in_set(&[SetId::ClusterIps]) && rule.rule.matches.iter().any(told) {
        "the source is no pod's, and the destination a ClusterIP"
    } else if in_set(&[SetId::ClusterIps]) {
        "--masquerade-all"
    } else {
        return format!("a rule of chain {} says so", rule.chain);
    };
    text.to_owned()
}

fn unchanged(held: &Held) -> String {
    let told = |m: &Match| matches!(m, Match::Prefix(Field::Source, ..) | Match::Interface(..));
    let chains = held.ruleset.chains.values();
    let mut conditions = chains.flat_map(|c| &c.rules).flat_map(|r| &r.matches);
    match conditions.any(told) {
        true => "nothing asks for masquerade".to_owned(),
        false => "nothing asks for masquerade; the rules can't tell pods from others".to_owned(),
    }
}

/// What else is worth knowing of a packet that nothing took.
pub(super) fn notes(way: &Way, held: &Held, packet: &Packet, known: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let untouched = matches!(way.fates.first(), Some((Fate::Untouched, _)) | None);
    let node = Key::EMPTY.protocol(packet.protocol).port(packet.port);
    let port_maps = [
        SetId::Nodeports,
        SetId::NodeportsInside,
        SetId::NodeportsOutside,
        SetId::RefusedNodeports,
    ];
    let is_port = port_maps
        .iter()
        .any(|set| held.ruleset.find(*set, &node).is_some());
    if untouched && !known && is_port {
        let served = held.ruleset.elements_of(SetId::NodeAddresses);
        let key = SetId::NodeAddresses.spec().key;
        let family = crate::model::IpFamily::of(packet.destination);
        let served = served.flat_map(|e| e.key.parts(&key, family));
        let served: Vec<String> = served
            .filter_map(|part| match part {
                KeyPart::Address(address) => Some(address.to_string()),
                _ => None,
            })
            .collect();
        let (port, protocol) = (packet.port, packet.protocol);
        notes.push(format!(
            "{port}/{protocol} is a NodePort, which this node serves on {} only \
             (--nodeport-addresses)",
            served.join(", ")
        ));
    }
    if let Some(source) = way.steps.iter().find_map(|step| match step {
        Step::Source(source) => Some(source),
        _ => None,
    }) {
        notes.push(format!(
            "the kernel takes {source} for the source, an address of kube-ipvs0"
        ));
    }
    notes
}

/// A rule step's verdict as words, for the trace.
pub(in crate::debug) fn outcome(step: &RuleStep) -> String {
    match (step.outcome, &step.rule.action) {
        (Outcome::Unmet(_), _) => "no match".to_owned(),
        (Outcome::NotInMap, _) => "not in the map".to_owned(),
        (Outcome::Done, Action::VerdictMap(..)) => {
            let verdict = step.found.iter().rev().find_map(|found| match found {
                Found::Element(e) => match &e.data {
                    crate::plan::nft::Data::Verdict(Verdict::Drop) => Some("drop".to_owned()),
                    crate::plan::nft::Data::Verdict(v) => Some(crate::plan::nft::text::verdict(v)),
                    _ => None,
                },
                Found::Client { .. } => None,
            });
            verdict.unwrap_or_else(|| "match".to_owned())
        }
        (Outcome::Done, _) => "match".to_owned(),
    }
}
