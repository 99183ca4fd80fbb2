// SPDX-License-Identifier: Apache-2.0
//! Rules from their expressions: what loads something leaves words in a register, what compares or
//! acts takes them from there.

use std::collections::HashMap;

use super::set::Set;
use super::statement;
use super::value::{Kind, hex, mask_length, verdict};
use crate::backend::netlink::{Attrs, be32, be64, cstr};
use crate::model::IpFamily;

/// What a register holds from a place on.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// What it is, in nft's words.
    pub(super) text: String,
    pub(super) kind: Kind,
    /// Bytes.
    pub(super) length: usize,
    /// Bits that are left of it.
    mask: Option<Vec<u8>>,
    /// Its value, if the rule itself gives it.
    pub(super) constant: Option<Vec<u8>>,
    /// A later part of what the registers before it hold, and the words there stand for all.
    pub(super) tail: bool,
}

impl Slot {
    pub(super) fn new(text: impl Into<String>, kind: Kind, length: usize) -> Self {
        let text = text.into();
        Self {
            text,
            kind,
            length,
            mask: None,
            constant: None,
            tail: false,
        }
    }
}

/// One rule on its way to text.
pub(super) struct Decoder<'a> {
    /// The sets of the table, by name.
    pub(super) sets: &'a HashMap<String, Set>,
    /// The layer 3 protocol that packets are known to have here.
    pub(super) family: Option<IpFamily>,
    /// Registers in words of 32 bits.
    slots: [Option<Slot>; WORDS],
    /// The rule so far.
    pub(super) words: Vec<String>,
    /// Register and value, if the expression before was a comparison "not less than".
    lower: Option<(u32, Vec<u8>)>,
}

const WORDS: usize = 20;
/// More elements of an anonymous set are not shown.
const INLINE: usize = 100;

/// Attributes of an expression, with numbers as most of them are.
#[derive(Clone)]
pub(super) struct Args<'a>(pub(super) Attrs<'a>);

impl<'a> Args<'a> {
    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        be32(self.0.get(kind)?)
    }

    pub(super) fn long(&self, kind: u16) -> Option<u64> {
        be64(self.0.get(kind)?)
    }

    pub(super) fn text(&self, kind: u16) -> Option<&'a str> {
        cstr(self.0.get(kind)?)
    }

    /// The bytes of nested data (`NFTA_DATA_VALUE`).
    fn data(&self, kind: u16) -> Option<&'a [u8]> {
        Attrs::new(self.0.get(kind)?).get(1)
    }

    fn flag(&self, kind: u16, flag: u32) -> bool {
        self.number(kind).is_some_and(|flags| flags & flag != 0)
    }
}

/// A rule's text: its expressions (`NFTA_RULE_EXPRESSIONS`), then its comment.
pub(super) fn text(
    expressions: &[u8],
    comment: Option<&str>,
    family: Option<IpFamily>,
    sets: &HashMap<String, Set>,
) -> String {
    let slots = [const { None }; WORDS];
    let mut decoder = Decoder {
        sets,
        family,
        slots,
        words: Vec::new(),
        lower: None,
    };
    for (_, payload) in Attrs::new(expressions) {
        let expression = Attrs::new(payload);
        let name = expression.get(1).and_then(cstr).unwrap_or("?");
        let args = Args(Attrs::new(expression.get(2).unwrap_or_default()));
        if name != "cmp" {
            decoder.lower = None;
        }
        if decoder.expression(name, &args).is_none() {
            decoder.unknown(name, &args);
        }
    }
    if let Some(comment) = comment {
        decoder
            .words
            .push(format!("comment \"{}\"", comment.escape_debug()));
    }
    decoder.words.join(" ")
}

impl Decoder<'_> {
    /// None if the expression, or this use of it, is not known.
    fn expression(&mut self, name: &str, args: &Args) -> Option<()> {
        match name {
            "payload" => self.payload(args),
            "meta" => self.meta(args),
            "ct" => self.ct(args),
            "numgen" => self.numgen(args),
            "fib" => self.fib(args),
            "immediate" => self.immediate(args),
            "cmp" => self.cmp(args),
            "range" => self.range(args),
            "bitwise" => self.bitwise(args),
            "byteorder" => self.byteorder(args),
            "lookup" => self.lookup(args),
            other => {
                let words = statement::decode(self, other, args)?;
                self.words.push(words);
                Some(())
            }
        }
    }

    /// Shows the attributes as they are. Whatever register it may fill holds nothing known then.
    fn unknown(&mut self, name: &str, args: &Args) {
        let attrs = args
            .0
            .clone()
            .map(|(kind, payload)| format!(" {kind}={}", hex(payload)));
        self.words
            .push(format!("[ {name}{} ]", attrs.collect::<String>()));
        // Which attribute names the register is the expression's own matter.
        self.slots = [const { None }; WORDS];
    }

    /// The first word of a register: `NFT_REG_1` to 4 have 16 bytes, `NFT_REG32_00` and up have 4.
    fn word(register: u32) -> Option<usize> {
        let word = match register {
            1..=4 => (register as usize - 1) * 4,
            8.. => register as usize - 8,
            _ => return None,
        };
        (word < WORDS).then_some(word)
    }

    /// Puts something into a register.
    pub(super) fn load(&mut self, register: Option<u32>, slot: Slot) -> Option<()> {
        let word = Self::word(register?)?;
        let end = (word + slot.length.div_ceil(4).max(1)).min(WORDS);
        self.slots[word..end].fill(None);
        self.slots[word] = Some(slot);
        Some(())
    }

    pub(super) fn slot(&self, register: Option<u32>) -> Option<&Slot> {
        self.slots[Self::word(register?)?].as_ref()
    }

    /// What so many bytes from a register on hold, part by part.
    pub(super) fn key(&self, register: Option<u32>, length: usize) -> Option<String> {
        let mut word = Self::word(register?)?;
        let end = word + length.div_ceil(4);
        let mut parts = Vec::new();
        while word < end {
            let slot = self.slots.get(word)?.as_ref()?;
            if !slot.tail {
                parts.push(slot.shown());
            }
            word += slot.length.div_ceil(4).max(1);
        }
        Some(parts.join(" . "))
    }

    fn immediate(&mut self, args: &Args) -> Option<()> {
        if args.number(1)? == 0 {
            self.words
                .push(verdict(Attrs::new(args.0.get(2)?).get(2)?)?);
            return Some(());
        }
        let bytes = args.data(2)?;
        let mut slot = Slot::new(hex(bytes), Kind::Bytes, bytes.len());
        slot.constant = Some(bytes.to_vec());
        self.load(args.number(1), slot)
    }

    fn cmp(&mut self, args: &Args) -> Option<()> {
        let (slot, value) = (self.slot(args.number(1))?.clone(), args.data(3)?);
        let operator = args.number(2)?;
        if let Some((_, low)) = self
            .lower
            .take_if(|l| operator == 3 && Some(l.0) == args.number(1))
        {
            // nft writes a range as two comparisons in a row.
            self.words.pop();
            self.words.push(format!(
                "{} {}",
                slot.shown(),
                slot.kind.show_range(&low, value)
            ));
            return Some(());
        }
        if operator == 5 {
            self.lower = Some((args.number(1)?, value.to_vec()));
        }
        if slot.text == "meta nfproto" && operator == 0 {
            self.family = match value.first() {
                Some(2) => Some(IpFamily::V4),
                Some(10) => Some(IpFamily::V6),
                _ => self.family,
            };
        }
        let word = ["", "!= ", "< ", "<= ", "> ", ">= "].get(operator as usize)?;
        let zero = value.iter().all(|b| *b == 0);
        self.words.push(match &slot.mask {
            // Any of some flags: what is left of them is not nothing.
            Some(mask) if slot.kind.flags() && zero && operator == 1 => {
                format!("{} {}", slot.text, slot.kind.show(mask))
            }
            _ => match slot.prefix(value) {
                Some(prefix) => format!("{} {word}{prefix}", slot.text),
                None => {
                    let equal = if slot.mask.is_some() && operator == 0 {
                        "== "
                    } else {
                        word
                    };
                    format!("{} {equal}{}", slot.shown(), slot.kind.show(value))
                }
            },
        });
        Some(())
    }

    fn range(&mut self, args: &Args) -> Option<()> {
        let slot = self.slot(args.number(1))?;
        let word = ["", "!= "].get(args.number(2)? as usize)?;
        let range = slot.kind.show_range(args.data(3)?, args.data(4)?);
        self.words.push(format!("{} {word}{range}", slot.shown()));
        Some(())
    }

    fn bitwise(&mut self, args: &Args) -> Option<()> {
        let mut slot = self.slot(args.number(1))?.clone();
        match args.number(6).unwrap_or(0) {
            0 => {
                let (mask, xor) = (args.data(4)?, args.data(5)?);
                if xor.iter().any(|b| *b != 0) || slot.mask.is_some() {
                    let kind = slot.kind;
                    let text = format!("{} & {}", slot.shown(), kind.show(mask));
                    slot.text = format!("({text}) ^ {}", kind.show(xor));
                    slot.mask = None;
                } else {
                    slot.mask = Some(mask.to_vec());
                }
            }
            shift @ 1..=2 => {
                let word = ["<<", ">>"][shift as usize - 1];
                slot.text = format!("({} {word} {})", slot.shown(), be32(args.data(7)?)?);
                slot.mask = None;
            }
            _ => return None,
        }
        slot.length = args.number(3)? as usize;
        slot.constant = None;
        self.load(args.number(2), slot)
    }

    /// Numbers turned round: the words stay, values are to be read the other way.
    fn byteorder(&mut self, args: &Args) -> Option<()> {
        let mut slot = self.slot(args.number(1))?.clone();
        slot.kind = match (args.number(3)?, slot.kind) {
            (1, Kind::Host | Kind::Mark) => Kind::Big,
            (0, Kind::Big) => Kind::Host,
            (0..=1, other) => other,
            _ => return None,
        };
        self.load(args.number(2), slot)
    }

    fn lookup(&mut self, args: &Args) -> Option<()> {
        let sets = self.sets;
        let set = sets.get(args.text(1)?)?;
        let key = self.key(args.number(2), set.key_length)?;
        let not = if args.flag(5, 1) { "!= " } else { "" };
        let name = if set.anonymous() {
            inline(set)
        } else {
            format!("@{}", set.name)
        };
        match args.number(3) {
            None => self.words.push(format!("{key} {not}{name}")),
            Some(0) => self.words.push(format!("{key} vmap {name}")),
            Some(register) => {
                let text = format!("{key} map {name}");
                let mut word = Self::word(register)?;
                let kinds = set.data_kinds();
                // A single datum has the length that the set says; its type may not know it.
                let whole = |n: usize| if kinds.len() == 1 { set.data_length } else { n };
                for (i, (kind, length)) in kinds.iter().enumerate() {
                    let mut slot = Slot::new(text.clone(), *kind, whole(*length));
                    slot.tail = i > 0;
                    let words = slot.length.div_ceil(4).max(1);
                    self.load(Some(word as u32 + 8), slot)?;
                    word += words;
                }
            }
        }
        Some(())
    }
}

impl Slot {
    /// Its words, and the mask if there is one.
    pub(super) fn shown(&self) -> String {
        match &self.mask {
            Some(mask) if self.kind == Kind::Bytes => format!("{} & {}", self.text, hex(mask)),
            Some(mask) => format!("{} & {}", self.text, self.kind.show(mask)),
            None => self.text.clone(),
        }
    }

    /// A compared value as a prefix: of an address by its mask, or of an address or a name since
    /// no more bytes than those were loaded or are compared.
    fn prefix(&self, value: &[u8]) -> Option<String> {
        let whole = match self.kind {
            Kind::Ip4 => 4,
            Kind::Ip6 => 16,
            Kind::Name => 16,
            _ => return None,
        };
        if self.kind == Kind::Name {
            let text = cstr(value).filter(|_| self.mask.is_none() && value.len() < whole)?;
            // With its NUL byte it is the whole name after all.
            let star = if value.contains(&0) { "" } else { "*" };
            return Some(format!("\"{}{star}\"", text.escape_debug()));
        }
        let length = match &self.mask {
            Some(mask) => mask_length(mask)?,
            None if value.len() < whole => value.len() as u32 * 8,
            None => return None,
        };
        let mut address = value.to_vec();
        address.resize(whole, 0);
        Some(format!("{}/{length}", self.kind.show(&address)))
    }
}

/// An anonymous set's content.
fn inline(set: &Set) -> String {
    let mut shown: Vec<String> = set
        .shown()
        .iter()
        .take(INLINE + 1)
        .map(|e| e.to_string())
        .collect();
    if shown.len() > INLINE {
        shown[INLINE] = "...".into();
    }
    format!("{{ {} }}", shown.join(", "))
}
