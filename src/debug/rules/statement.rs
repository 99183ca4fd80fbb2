// SPDX-License-Identifier: Apache-2.0
//! Expressions that act on a packet.

use std::net::IpAddr;

use super::rule::{Args, Decoder};
use super::value::{Kind, hex};
use super::view::duration;
use crate::backend::netlink::Attrs;
use crate::model::IpFamily;
use crate::plan::nft::element::address_from;

/// The words for an expression that acts. None if it is not known.
pub(super) fn decode(decoder: &Decoder, name: &str, args: &Args) -> Option<String> {
    match name {
        "nat" => nat(decoder, args),
        // masq has its flags before its registers, redir after them.
        "masq" => to_port("masquerade", decoder, args, 2, 1),
        "redir" => to_port("redirect", decoder, args, 1, 3),
        "reject" => reject(decoder.family, args),
        "dynset" => dynset(decoder, args),
        "counter" => Some(format!(
            "counter packets {} bytes {}",
            args.long(2)?,
            args.long(1)?
        )),
        "limit" => limit(args),
        "log" => Some(match args.text(2) {
            Some(prefix) => format!("log prefix \"{}\"", prefix.escape_debug()),
            None => "log".into(),
        }),
        "notrack" => Some("notrack".into()),
        _ => None,
    }
}

/// ` random` and so on, from `NF_NAT_RANGE_*`.
fn nat_flags(flags: u32) -> String {
    let words = [(4, "random"), (16, "fully-random"), (8, "persistent")];
    let set: Vec<&str> = words
        .iter()
        .filter(|(f, _)| flags & f != 0)
        .map(|(_, w)| *w)
        .collect();
    if set.is_empty() {
        String::new()
    } else {
        format!(" {}", set.join(","))
    }
}

fn nat(decoder: &Decoder, args: &Args) -> Option<String> {
    let kind = ["snat", "dnat"].get(args.number(1)? as usize)?;
    let family = match args.number(2)? {
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let flags = nat_flags(args.number(7).unwrap_or(0));
    let port = match args.number(5) {
        None => None,
        // A port that came with the address from one look-up has no words of its own.
        register if decoder.slot(register)?.tail => None,
        register => Some(port(decoder, register, args.number(6))?),
    };
    let target = match (args.number(3), port) {
        (None, port) => format!(":{}", port?),
        (low, port) => {
            let high = args.number(4).filter(|high| Some(*high) != low);
            let low = address(decoder, low, port.is_some())?;
            let high = high.map(|h| address(decoder, Some(h), port.is_some()));
            let port = port.map(|p| format!(":{p}")).unwrap_or_default();
            match high {
                Some(high) => format!("{low}-{}{port}", high?),
                None => format!("{low}{port}"),
            }
        }
    };
    Some(format!("{kind} {family} to {target}{flags}"))
}

/// An address to translate to; in brackets if a port follows it and it has colons itself.
fn address(decoder: &Decoder, register: Option<u32>, port: bool) -> Option<String> {
    let slot = decoder.slot(register)?;
    Some(
        match slot
            .constant
            .as_deref()
            .map(|bytes| (bytes, address_from(bytes)))
        {
            Some((_, Some(IpAddr::V6(a)))) if port => format!("[{a}]"),
            Some((_, Some(a))) => a.to_string(),
            Some((bytes, None)) => hex(bytes),
            None => slot.text.clone(),
        },
    )
}

/// A port to translate to, or a range of them.
fn port(decoder: &Decoder, low: Option<u32>, high: Option<u32>) -> Option<String> {
    let shown = |register| {
        let slot = decoder.slot(register)?;
        Some(
            slot.constant
                .as_ref()
                .map_or_else(|| slot.text.clone(), |c| Kind::Big.show(c)),
        )
    };
    match high.filter(|high| Some(*high) != low) {
        Some(high) => Some(format!("{}-{}", shown(low)?, shown(Some(high))?)),
        None => shown(low),
    }
}

/// masquerade and redirect: nowhere else than to a port, whose lower bound `register` names.
fn to_port(
    word: &str,
    decoder: &Decoder,
    args: &Args,
    register: u16,
    flags: u16,
) -> Option<String> {
    let flags = nat_flags(args.number(flags).unwrap_or(0));
    Some(match args.number(register) {
        None => format!("{word}{flags}"),
        low => format!(
            "{word} to :{}{flags}",
            port(decoder, low, args.number(register + 1))?
        ),
    })
}

fn reject(family: Option<IpFamily>, args: &Args) -> Option<String> {
    const IP: &[(u8, &str)] = &[
        (0, "net-unreachable"),
        (1, "host-unreachable"),
        (2, "prot-unreachable"),
        (3, "port-unreachable"),
        (9, "net-prohibited"),
        (10, "host-prohibited"),
        (13, "admin-prohibited"),
    ];
    const IP6: &[(u8, &str)] = &[
        (0, "no-route"),
        (1, "admin-prohibited"),
        (3, "addr-unreachable"),
        (4, "port-unreachable"),
        (5, "policy-fail"),
        (6, "reject-route"),
    ];
    const ANY: &[(u8, &str)] = &[
        (0, "no-route"),
        (1, "port-unreachable"),
        (2, "host-unreachable"),
        (3, "admin-prohibited"),
    ];
    let code = args.0.get(2).and_then(|c| c.first()).copied();
    let (word, table, usual) = match (args.number(1)?, family) {
        (1, _) => return Some("reject with tcp reset".into()),
        (0, Some(IpFamily::V4)) => ("icmp", IP, Some(3)),
        (0, Some(IpFamily::V6)) => ("icmpv6", IP6, Some(4)),
        (2, _) => ("icmpx", ANY, None),
        _ => return None,
    };
    if code == usual {
        return Some("reject".into());
    }
    let code = code?;
    let name = table.iter().find(|(c, _)| *c == code);
    Some(match name {
        Some((_, name)) => format!("reject with {word} {name}"),
        None => format!("reject with {word} {code}"),
    })
}

fn dynset(decoder: &Decoder, args: &Args) -> Option<String> {
    let set = decoder.sets.get(args.text(1)?)?;
    let word = ["add", "update", "delete"].get(args.number(3)? as usize)?;
    let mut element = decoder.key(args.number(4), set.key_length)?;
    if let Some(timeout) = args.long(6).filter(|t| *t != 0) {
        element += &format!(" timeout {}", duration(timeout));
    }
    let lists = args.0.get(10).map(Attrs::new);
    let single = args.0.get(7);
    let expressions = lists
        .into_iter()
        .flatten()
        .map(|(_, payload)| payload)
        .chain(single);
    for payload in expressions {
        let expression = Attrs::new(payload);
        let name = expression.get(1).and_then(crate::backend::netlink::cstr)?;
        let inner = Args(Attrs::new(expression.get(2).unwrap_or_default()));
        // Its state is that of the elements; the rule's own is always zero.
        let words = if name == "counter" {
            name.into()
        } else {
            decode(decoder, name, &inner)?
        };
        element += &format!(" {words}");
    }
    if let register @ Some(_) = args.number(5) {
        element += &format!(" : {}", decoder.key(register, set.data_length)?);
    }
    Some(format!("{word} @{} {{ {element} }}", set.name))
}

fn limit(args: &Args) -> Option<String> {
    let unit = match args.long(2)? {
        1 => "second",
        60 => "minute",
        3600 => "hour",
        86400 => "day",
        604_800 => "week",
        _ => return None,
    };
    let (kind, burst_word) =
        [("", "packets"), (" bytes", "bytes")][usize::from(args.number(4) == Some(1))];
    let over = if args.number(5).unwrap_or(0) & 1 != 0 {
        "over "
    } else {
        ""
    };
    let burst = args.number(3).filter(|b| *b != 0);
    let burst = burst
        .map(|b| format!(" burst {b} {burst_word}"))
        .unwrap_or_default();
    Some(format!(
        "limit rate {over}{}{kind}/{unit}{burst}",
        args.long(1)?
    ))
}
