// SPDX-License-Identifier: Apache-2.0
//! What a Service wishes of IPVS, by annotations. Only IPVS mode looks at it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// The annotation that names a scheduler.
pub const SCHEDULER: &str = "ferrule.dev/ipvs-scheduler";
/// The annotation that gives endpoints weights.
pub const WEIGHTS: &str = "ferrule.dev/ipvs-weights";
/// The annotation that schedules each UDP packet by itself.
pub const ONE_PACKET: &str = "ferrule.dev/ipvs-one-packet";

/// The schedulers that Linux has (`net/netfilter/ipvs`), by the kernel's names.
pub const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
];

/// The heaviest weight. The kernel takes more; its sums are of 32 bits.
pub const HEAVIEST: u32 = 65_535;

/// What a Service wishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpvsWishes {
    /// One of [`SCHEDULERS`].
    pub scheduler: Option<Arc<str>>,
    /// Weights, at most [`HEAVIEST`].
    pub weights: Vec<(Whose, u32)>,
    /// Each UDP packet is a connection of its own.
    pub one_packet: bool,
}

/// Whose weight it is. An address goes before a prefix, a longer prefix before a shorter one, and
/// any of them before a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The endpoints in a prefix; an address is a prefix of full length.
    In(IpNet),
    /// The endpoints on a node.
    On(Arc<str>),
}

impl IpvsWishes {
    /// Reads annotations by name. What cannot be used is left out, and reported with the
    /// annotation's name and a reason.
    pub fn read<'a>(
        annotation: impl Fn(&str) -> Option<&'a str>,
        mut unusable: impl FnMut(&'static str, String),
    ) -> Option<Self> {
        let mut wishes = Self::default();
        if let Some(name) = annotation(SCHEDULER) {
            match SCHEDULERS.contains(&name) {
                true => wishes.scheduler = Some(name.into()),
                false => unusable(SCHEDULER, format!("no scheduler of Linux: {name:?}")),
            }
        }
        if let Some(text) = annotation(WEIGHTS) {
            match weights(text) {
                Ok(weights) => wishes.weights = weights,
                Err(reason) => unusable(WEIGHTS, reason),
            }
        }
        if let Some(text) = annotation(ONE_PACKET) {
            match text.parse() {
                Ok(each) => wishes.one_packet = each,
                Err(_) => unusable(ONE_PACKET, format!("neither true nor false: {text:?}")),
            }
        }
        (wishes != Self::default()).then_some(wishes)
    }

    /// The weight of an endpoint; 1 if none is wished.
    pub fn weight(&self, address: IpAddr, node: Option<&str>) -> u32 {
        let rank = |whose: &Whose| match whose {
            Whose::In(net) if net.contains(&address) => Some(1 + u16::from(net.prefix_len())),
            Whose::On(name) if Some(&**name) == node => Some(0),
            _ => None,
        };
        let ranked = self.weights.iter();
        let ranked = ranked.filter_map(|(whose, weight)| Some((rank(whose)?, weight)));
        ranked.max_by_key(|(rank, _)| *rank).map_or(1, |(_, w)| *w)
    }
}

/// Reads `10.244.1.5=3, 10.244.2.0/24=2, fd00:10:244::/64=2, node-a=0`.
fn weights(text: &str) -> Result<Vec<(Whose, u32)>, String> {
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    parts.map(weight).collect()
}

fn weight(text: &str) -> Result<(Whose, u32), String> {
    let wrong = || format!("not ADDRESS=WEIGHT, PREFIX=WEIGHT or NODE=WEIGHT: {text:?}");
    let (whose, weight) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (whose, weight) = (whose.trim(), weight.trim());
    let weight: u32 = weight.parse().map_err(|_| wrong())?;
    if weight > HEAVIEST {
        return Err(format!("weight above {HEAVIEST}: {text:?}"));
    }
    let node = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let whose = if let Ok(address) = whose.parse::<IpAddr>() {
        Whose::In(address.into())
    } else if let Ok(net) = whose.parse::<IpNet>() {
        Whose::In(net)
    } else if !whose.is_empty() && whose.chars().all(node) {
        Whose::On(whose.into())
    } else {
        return Err(wrong());
    };
    Ok((whose, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)]) -> (Option<IpvsWishes>, Vec<String>) {
        let mut reasons = Vec::new();
        let find = |name: &str| {
            annotations
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| *v)
        };
        let wishes = IpvsWishes::read(find, |name, reason| {
            reasons.push(format!("{name}: {reason}"))
        });
        (wishes, reasons)
    }

    #[test]
    fn nothing_is_wished() {
        assert_eq!(read(&[]), (None, vec![]));
        assert_eq!(
            read(&[("other", "rr"), (ONE_PACKET, "false"), (WEIGHTS, " ")]),
            (None, vec![])
        );
    }

    #[test]
    fn the_most_exact_weight_counts() {
        let text = "node-a=5, 10.1.0.0/16=2,10.1.2.0/24 = 3, 10.1.2.3=4, fd00::/64=0";
        let (wishes, reasons) = read(&[(WEIGHTS, text)]);
        assert_eq!(reasons, [""; 0]);
        let wishes = wishes.unwrap();
        let weight = |address: &str, node| wishes.weight(address.parse().unwrap(), node);
        assert_eq!(weight("10.1.2.3", Some("node-a")), 4);
        assert_eq!(weight("10.1.2.4", Some("node-a")), 3);
        assert_eq!(weight("10.1.3.4", None), 2);
        assert_eq!(weight("10.2.3.4", Some("node-a")), 5);
        assert_eq!(weight("10.2.3.4", Some("node-b")), 1);
        assert_eq!(weight("fd00::7", None), 0);
    }

    #[test]
    fn what_is_unusable_is_told_and_hurts_nothing_else() {
        let (wishes, reasons) = read(&[
            (SCHEDULER, "fair"),
            (WEIGHTS, "10.1.2.3=4,10.1.2.4"),
            (ONE_PACKET, "true"),
        ]);
        assert!(wishes.is_some_and(|w| w.one_packet && w.weights.is_empty()));
        assert_eq!(
            reasons,
            [
                "ferrule.dev/ipvs-scheduler: no scheduler of Linux: \"fair\"",
                "ferrule.dev/ipvs-weights: \
                 not ADDRESS=WEIGHT, PREFIX=WEIGHT or NODE=WEIGHT: \"10.1.2.4\"",
            ]
        );
        for bad in [
            "a b=1",
            "=1",
            "node=-1",
            "node=65536",
            "10.0.0.0/33=1",
            "node=99999999999",
        ] {
            assert_eq!(read(&[(WEIGHTS, bad)]).1.len(), 1, "{bad}");
        }
        for scheduler in SCHEDULERS {
            let (wishes, _) = read(&[(SCHEDULER, scheduler)]);
            assert_eq!(wishes.unwrap().scheduler.as_deref(), Some(scheduler));
        }
    }
}
