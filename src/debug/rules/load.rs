// SPDX-License-Identifier: Apache-2.0
//! Expressions that load something about the packet or its connection.

use super::rule::{Args, Decoder, Slot};
use super::value::Kind;
use crate::model::IpFamily;

impl Decoder<'_> {
    pub(super) fn payload(&mut self, args: &Args) -> Option<()> {
        let (base, offset, length) = (args.number(2)?, args.number(3)?, args.number(4)?);
        let (text, kind) = match (base, offset, length, self.family) {
            (1, 12, 1..=4, Some(IpFamily::V4)) => ("ip saddr", Kind::Ip4),
            (1, 16, 1..=4, Some(IpFamily::V4)) => ("ip daddr", Kind::Ip4),
            (1, 9, 1, Some(IpFamily::V4)) => ("ip protocol", Kind::Protocol),
            (1, 8, 1, Some(IpFamily::V4)) => ("ip ttl", Kind::Big),
            (1, 8, 1..=16, Some(IpFamily::V6)) => ("ip6 saddr", Kind::Ip6),
            (1, 24, 1..=16, Some(IpFamily::V6)) => ("ip6 daddr", Kind::Ip6),
            (1, 6, 1, Some(IpFamily::V6)) => ("ip6 nexthdr", Kind::Protocol),
            (1, 7, 1, Some(IpFamily::V6)) => ("ip6 hoplimit", Kind::Big),
            (2, 0, 2, _) => ("th sport", Kind::Big),
            (2, 2, 2, _) => ("th dport", Kind::Big),
            (0..=2, ..) => {
                let base = ["ll", "nh", "th"][base as usize];
                let text = format!(
                    "@{base},{},{}",
                    u64::from(offset) * 8,
                    u64::from(length) * 8
                );
                return self.load(
                    args.number(1),
                    Slot::new(text, Kind::Bytes, length as usize),
                );
            }
            _ => return None,
        };
        self.load(args.number(1), Slot::new(text, kind, length as usize))
    }

    pub(super) fn meta(&mut self, args: &Args) -> Option<()> {
        let (text, kind, length) = match args.number(2)? {
            0 => ("meta length", Kind::Host, 4),
            1 => ("meta protocol", Kind::EtherType, 2),
            3 => ("meta mark", Kind::Mark, 4),
            4 => ("iif", Kind::Host, 4),
            5 => ("oif", Kind::Host, 4),
            6 => ("iifname", Kind::Name, 16),
            7 => ("oifname", Kind::Name, 16),
            10 => ("meta skuid", Kind::Host, 4),
            11 => ("meta skgid", Kind::Host, 4),
            12 => ("meta nftrace", Kind::Host, 1),
            15 => ("meta nfproto", Kind::NfProto, 1),
            16 => ("meta l4proto", Kind::Protocol, 1),
            20 => ("meta cpu", Kind::Host, 4),
            _ => return None,
        };
        self.load_or_set(
            args.number(1),
            args.number(3),
            Slot::new(text, kind, length),
        )
    }

    pub(super) fn ct(&mut self, args: &Args) -> Option<()> {
        let address = match self.family {
            Some(IpFamily::V4) => (Kind::Ip4, 4),
            Some(IpFamily::V6) => (Kind::Ip6, 16),
            None => (Kind::Bytes, 16),
        };
        let (word, (kind, length)) = match args.number(2)? {
            0 => ("state", (Kind::State, 4)),
            1 => ("direction", (Kind::Direction, 1)),
            2 => ("status", (Kind::Status, 4)),
            3 => ("mark", (Kind::Mark, 4)),
            5 => ("expiration", (Kind::Host, 4)),
            7 => ("l3proto", (Kind::NfProto, 1)),
            8 => ("saddr", address),
            9 => ("daddr", address),
            10 => ("protocol", (Kind::Protocol, 1)),
            11 => ("proto-src", (Kind::Big, 2)),
            12 => ("proto-dst", (Kind::Big, 2)),
            17 => ("zone", (Kind::Host, 2)),
            19 => ("ip saddr", (Kind::Ip4, 4)),
            20 => ("ip daddr", (Kind::Ip4, 4)),
            21 => ("ip6 saddr", (Kind::Ip6, 16)),
            22 => ("ip6 daddr", (Kind::Ip6, 16)),
            23 => ("id", (Kind::Bytes, 4)),
            _ => return None,
        };
        let text = match args.0.get(3).and_then(|d| d.first()) {
            None => format!("ct {word}"),
            Some(0) => format!("ct original {word}"),
            Some(_) => format!("ct reply {word}"),
        };
        self.load_or_set(
            args.number(1),
            args.number(4),
            Slot::new(text, kind, length),
        )
    }

    /// meta and ct either load what they name or set it from a register.
    fn load_or_set(&mut self, to: Option<u32>, from: Option<u32>, slot: Slot) -> Option<()> {
        if to.is_some() {
            return self.load(to, slot);
        }
        let value = self.slot(from)?;
        let value = value
            .constant
            .as_ref()
            .map_or_else(|| value.shown(), |c| slot.kind.show(c));
        self.words.push(format!("{} set {value}", slot.text));
        Some(())
    }

    pub(super) fn numgen(&mut self, args: &Args) -> Option<()> {
        let kind = ["inc", "random"].get(args.number(3)? as usize)?;
        let mut text = format!("numgen {kind} mod {}", args.number(2)?);
        if let Some(offset) = args.number(4).filter(|o| *o != 0) {
            text += &format!(" offset {offset}");
        }
        self.load(args.number(1), Slot::new(text, Kind::Host, 4))
    }

    pub(super) fn fib(&mut self, args: &Args) -> Option<()> {
        let (result, flags) = (args.number(2)?, args.number(3)?);
        let words = [
            (1, "saddr"),
            (2, "daddr"),
            (4, "mark"),
            (8, "iif"),
            (16, "oif"),
        ];
        let key: Vec<_> = words
            .iter()
            .filter(|(f, _)| flags & f != 0)
            .map(|(_, w)| *w)
            .collect();
        let (word, kind, length) = match result {
            1 => ("oif", Kind::Host, 4),
            2 => ("oifname", Kind::Name, 16),
            3 => ("type", Kind::AddressType, 4),
            _ => return None,
        };
        let text = format!("fib {} {word}", key.join(" . "));
        self.load(args.number(1), Slot::new(text, kind, length))
    }
}
