// SPDX-License-Identifier: Apache-2.0
//! One of everything: rules with every condition and action, every set, elements.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{IpFamily, Protocol};
use crate::plan::nft::set::{INDEX, VIP};
use crate::plan::nft::{
    Action, Base, ChainName, ChainSpec, Data, DataKind, Element, Field, Hook, Key, Match, Op, Rule,
    SetId, SetName, SetSpec, Verdict,
};

/// The first of two words in IPv4, the second in IPv6.
pub(super) fn of<T>(family: IpFamily, v4: T, v6: T) -> T {
    match family {
        IpFamily::V4 => v4,
        IpFamily::V6 => v6,
    }
}

/// The address number `n` of a family.
pub(super) fn address(family: IpFamily, n: u32) -> IpAddr {
    match family {
        IpFamily::V4 => IpAddr::from((0x0a60_0000 + n).to_be_bytes()),
        IpFamily::V6 => IpAddr::from(((0xfd00_0096_u128 << 96) + u128::from(n)).to_be_bytes()),
    }
}

pub(super) fn affinity() -> SetName {
    SetName::Own("affinity-default/login/http".into())
}

/// Every permanent set, and a Service's own.
pub(super) fn sets() -> Vec<SetSpec> {
    let own = SetSpec {
        name: affinity(),
        key: vec![Field::Source],
        data: DataKind::Address,
        interval: false,
        dynamic: Some(65536),
    };
    SetId::ALL
        .into_iter()
        .map(SetId::spec)
        .chain([own])
        .collect()
}

fn update() -> Action {
    Action::Update {
        set: affinity(),
        key: vec![Field::OriginalSource],
        timeout: 10800,
        data: vec![Field::Destination],
    }
}

/// Rules, as nft lists them.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn rules(family: IpFamily) -> Vec<(Rule, String)> {
    use Field::{Destination, OriginalDestination, OriginalPort, OriginalSource, Port, Source};
    let ip = of(family, "ip", "ip6");
    let vip = VIP.to_vec();
    let original = vec![OriginalDestination, Field::Protocol, OriginalPort];
    let index = |modulus, offset| [VIP, &[Field::Random { modulus, offset }]].concat();
    let key = format!("{ip} daddr . meta l4proto . th dport");
    let known = "meta l4proto { tcp, udp, sctp }";
    let original_key = format!("ct original {ip} daddr . meta l4proto . ct original proto-dst");
    let jump = || Action::Jump("other".into());
    let when = |m: Match, action: Action| Rule::when([m], action);
    let mut rules = vec![
        (Rule::always(Action::Accept), "accept".into()),
        (Rule::always(Action::Drop), "drop".into()),
        (Rule::always(Action::Return), "return".into()),
        (Rule::always(Action::Reject), "reject".into()),
        (
            Rule::always(Action::Goto("other".into())),
            "goto other".into(),
        ),
        (Rule::always(jump()), "jump other".into()),
        (
            Rule::always(Action::Masquerade),
            "masquerade fully-random".into(),
        ),
        (
            Rule::always(Action::Dnat(index(3, 0), SetId::Endpoints.into())),
            format!("dnat {ip} to {key} . numgen random mod 3 map @endpoints"),
        ),
        (
            Rule::always(Action::Dnat(
                vec![
                    Field::Protocol,
                    Port,
                    Field::Random {
                        modulus: 1,
                        offset: 32768,
                    },
                ],
                SetId::NodeportEndpoints.into(),
            )),
            format!(
                "dnat {ip} to meta l4proto . th dport . numgen random mod 1 offset 32768 \
                 map @nodeport-endpoints"
            ),
        ),
        (
            when(
                Match::ProtocolIs(Protocol::Udp),
                Action::DnatTo {
                    key: vec![Source],
                    map: affinity(),
                    port: 8080,
                },
            ),
            format!("meta l4proto udp dnat to {ip} saddr map @affinity-default/login/http:8080"),
        ),
        (
            Rule::always(Action::VerdictMap(vip, SetId::Services.into())),
            format!("{key} vmap @services"),
        ),
        (
            when(
                Match::InSet(vec![Destination], SetId::ClusterIps.into()),
                Action::Reject,
            ),
            format!("{ip} daddr @cluster-ips reject"),
        ),
        (
            when(
                Match::InSet(vec![OriginalDestination], SetId::ClusterIps.into()),
                Action::Masquerade,
            ),
            format!("ct original {ip} daddr @cluster-ips masquerade fully-random"),
        ),
        (
            when(
                Match::InSet(vec![OriginalSource], SetId::NodeAddresses.into()),
                jump(),
            ),
            format!("ct original {ip} saddr @node-addresses jump other"),
        ),
        (
            when(
                Match::InSet(
                    vec![Source, Destination, Field::Protocol, Port],
                    SetId::Hairpin.into(),
                ),
                Action::Masquerade,
            ),
            format!(
                "{ip} saddr . {ip} daddr . meta l4proto . th dport @hairpin \
                 masquerade fully-random"
            ),
        ),
        (
            when(
                Match::InSet([VIP, &[Source]].concat(), SetId::SourceRanges.into()),
                Action::Goto("other".into()),
            ),
            format!("{key} . {ip} saddr @source-ranges goto other"),
        ),
        (
            when(
                Match::KnownProtocol,
                Action::VerdictMap(original.clone(), SetId::LearnServices.into()),
            ),
            format!("{known} {original_key} vmap @learn-services"),
        ),
        (
            Rule::when(
                [
                    Match::KnownProtocol,
                    Match::InSet(original, SetId::MasqueradeServices.into()),
                ],
                Action::Masquerade,
            ),
            format!("{known} {original_key} @masquerade-services masquerade fully-random"),
        ),
        (
            when(Match::SourceLocal, Action::Accept),
            "fib saddr type local accept".into(),
        ),
        (
            when(Match::DestinationNotLocal, Action::Drop),
            "fib daddr type != local drop".into(),
        ),
        (
            when(Match::Translated, jump()),
            "ct status dnat jump other".into(),
        ),
        (
            when(Match::MidStream, Action::Reset),
            "tcp flags ! syn reject with tcp reset".into(),
        ),
        (
            when(Match::Invalid, Action::Drop),
            "ct state invalid drop".into(),
        ),
        (
            when(
                Match::InSet(
                    vec![Source, Field::Protocol, Field::SourcePort],
                    SetId::Backends.into(),
                ),
                Action::Drop,
            ),
            format!("{ip} saddr . meta l4proto . th sport @backends drop"),
        ),
    ];
    for (name, negated) in [
        ("cni0", false),
        ("cni0", true),
        ("cni*", false),
        ("cni*", true),
    ] {
        rules.push((
            when(Match::Interface(name.into(), negated), Action::Accept),
            format!(
                "iifname {}\"{name}\" accept",
                if negated { "!= " } else { "" }
            ),
        ));
    }
    let v4 = [
        "10.0.0.0/8",
        "10.244.0.0/16",
        "10.244.32.0/19",
        "192.0.2.0/24",
        "192.0.2.1/32",
    ];
    let v6 = [
        "fd00::/8",
        "2001:db8::/29",
        "fd00:244::/61",
        "fd00:244::/64",
        "fd00::1/128",
    ];
    for (index, net) in of(family, v4, v6).into_iter().enumerate() {
        for (field, word) in [
            (Source, format!("{ip} saddr")),
            (Destination, format!("{ip} daddr")),
            (OriginalDestination, format!("ct original {ip} daddr")),
        ] {
            let negated = index % 2 == 1;
            let not = if negated { "!= " } else { "" };
            let shown = net.trim_end_matches("/32").trim_end_matches("/128");
            rules.push((
                when(
                    Match::Prefix(field, net.parse().unwrap(), negated),
                    Action::Accept,
                ),
                format!("{word} {not}{shown} accept"),
            ));
        }
    }
    rules.extend(updates(family));
    rules
}

/// Rules that enter clients. Their data are addresses alone: nft 1.0.6 aborts when it loads a rule
/// that enters more than 16 bytes (`netlink_gen_map_stmt` sets four registers aside).
fn updates(family: IpFamily) -> Vec<(Rule, String)> {
    let ip = of(family, "ip", "ip6");
    let text = format!(
        "update @affinity-default/login/http \
         {{ ct original {ip} saddr timeout 3h : {ip} daddr }}"
    );
    let hairpin = vec![
        Field::Source,
        Field::Destination,
        Field::Protocol,
        Field::Port,
    ];
    vec![
        (Rule::always(update()), text.clone()),
        (
            Rule::when([Match::PortIs(8080)], update()),
            format!("th dport 8080 {text}"),
        ),
        (
            Rule::when([Match::InSet(hairpin, SetId::Hairpin.into())], update()),
            format!("{ip} saddr . {ip} daddr . meta l4proto . th dport @hairpin {text}"),
        ),
    ]
}

pub(super) fn chain(name: &str, base: Option<Base>, rules: Vec<Rule>) -> Arc<ChainSpec> {
    Arc::new(ChainSpec {
        name: name.into(),
        base,
        rules,
    })
}

/// The base chains, with rules that belong there.
pub(super) fn base_chains() -> Vec<Arc<ChainSpec>> {
    let hooks = [
        ("prerouting", Hook::Prerouting, -100),
        ("input", Hook::Input, 100),
        ("forward", Hook::Forward, 0),
        ("output", Hook::Output, -100),
        ("postrouting", Hook::Postrouting, 100),
    ];
    hooks
        .into_iter()
        .map(|(name, hook, priority)| {
            let base = Some(Base { hook, priority });
            chain(name, base, vec![Rule::always(Action::Jump("other".into()))])
        })
        .collect()
}

/// Name of the chain that holds case `n`.
pub(super) fn case_chain(n: usize) -> ChainName {
    ChainName::from(format!("case-{n}").as_str())
}

/// Operations that create everything: one chain a rule.
pub(super) fn everything(family: IpFamily, rules: &[Rule]) -> Vec<Op> {
    let mut ops = vec![Op::AddTable];
    ops.extend(sets().into_iter().map(|spec| Op::AddSet(Arc::new(spec))));
    let mut chains = vec![chain("other", None, Vec::new())];
    for (n, rule) in rules.iter().enumerate() {
        chains.push(chain(case_chain(n).as_str(), None, vec![rule.clone()]));
    }
    chains.extend(base_chains());
    ops.extend(chains.iter().cloned().map(Op::AddChain));
    ops.extend(elements(family).into_iter().map(Op::AddElement));
    ops.extend(chains.into_iter().map(Op::SetRules));
    ops
}

/// Two or three elements of every permanent set.
pub(super) fn elements(family: IpFamily) -> Vec<Element> {
    SetId::ALL
        .into_iter()
        .flat_map(|set| (1..=3).map(move |n| element(family, set, n)))
        .collect()
}

/// Element number `n` of a set.
pub(super) fn element(family: IpFamily, set: SetId, n: u32) -> Element {
    let spec = set.spec();
    let fill = |source: IpAddr| {
        spec.key.iter().fold(Key::EMPTY, |key, field| match field {
            Field::Source if spec.interval => key.address(source),
            Field::Source | Field::Destination => key.address(address(family, n)),
            Field::Protocol => key.protocol(Protocol::ALL[n as usize % 3]),
            Field::Port | Field::SourcePort => key.port(n as u16),
            f if *f == INDEX => key.index(n),
            other => panic!("no set has {other:?} in its key"),
        })
    };
    let (low, high) = (address(family, 256 * n), address(family, 256 * n + 255));
    let data = match spec.data {
        DataKind::None => Data::None,
        DataKind::Target => Data::Target(address(family, 7), 8080),
        DataKind::Address => Data::Address(address(family, 7)),
        DataKind::Verdict => Data::Verdict(match n % 3 {
            0 => Verdict::Drop,
            1 => Verdict::Goto("other".into()),
            _ => Verdict::Jump("other".into()),
        }),
    };
    Element {
        set,
        key: fill(low),
        end: spec.interval.then(|| Box::new(fill(high))),
        data,
    }
}
