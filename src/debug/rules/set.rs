// SPDX-License-Identifier: Apache-2.0
//! Sets and maps as the kernel describes them, and their elements.

use super::value::{self, Kind, hex};
use super::view;
use crate::backend::netlink::{Attrs, be32, be64, cstr};

const ANONYMOUS: u32 = 0x1;
const INTERVAL: u32 = 0x4;
/// `NFT_DATA_VERDICT`: the data type of a verdict map.
const VERDICT: u32 = 0xffff_ff00;

/// Flags with nft's words for them.
const FLAGS: &[(u32, &str)] = &[
    (0x2, "constant"),
    (INTERVAL, "interval"),
    (0x10, "timeout"),
    (0x20, "dynamic"),
];

/// A set or map.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) name: String,
    flags: u32,
    /// Types of the key's parts.
    key: Vec<(String, Kind, usize)>,
    /// Bytes of the key.
    pub(super) key_length: usize,
    /// Types of the data's parts; none in a set.
    data: Option<Data>,
    /// Bytes of the data.
    pub(super) data_length: usize,
    size: Option<u32>,
    timeout_ms: Option<u64>,
    pub(super) elements: Vec<Element>,
}

#[derive(Debug, Clone)]
enum Data {
    Verdict,
    Value(Vec<(String, Kind, usize)>),
}

/// An element as the kernel has it.
#[derive(Debug, Clone)]
pub(super) struct Element {
    key: Vec<u8>,
    end: Option<Vec<u8>>,
    /// Only the end of a range that another element began.
    ends: bool,
    catchall: bool,
    data: Option<Result<Vec<u8>, String>>,
    timeout_ms: Option<u64>,
    expires_ms: Option<u64>,
}

impl Set {
    /// From `NFT_MSG_NEWSET`.
    pub(super) fn read(attrs: &Attrs) -> Option<Self> {
        let number = |kind| attrs.get(kind).and_then(be32);
        let data = number(6).map(|kind| match kind {
            VERDICT => Data::Verdict,
            packed => Data::Value(value::parts(packed)),
        });
        let description = attrs.get(9).map(Attrs::new);
        Some(Self {
            name: attrs.get(2).and_then(cstr)?.to_owned(),
            flags: number(3).unwrap_or(0),
            key: value::parts(number(4).unwrap_or(0)),
            key_length: number(5).unwrap_or(0) as usize,
            data,
            data_length: number(7).unwrap_or(0) as usize,
            size: description.and_then(|d| d.get(1)).and_then(be32),
            timeout_ms: attrs.get(11).and_then(be64).filter(|t| *t != 0),
            elements: Vec::new(),
        })
    }

    /// Whether it belongs to one rule and is shown there.
    pub(super) fn anonymous(&self) -> bool {
        self.flags & ANONYMOUS != 0
    }

    /// Kinds and lengths of the data's parts; none for verdicts.
    pub(super) fn data_kinds(&self) -> Vec<(Kind, usize)> {
        match &self.data {
            Some(Data::Value(parts)) => parts.iter().map(|(_, k, l)| (*k, *l)).collect(),
            _ => Vec::new(),
        }
    }

    /// Adds the elements of one `NFT_MSG_NEWSETELEM`.
    pub(super) fn add(&mut self, attrs: &Attrs) {
        let list = Attrs::new(attrs.get(3).unwrap_or_default());
        self.elements
            .extend(list.filter_map(|(_, payload)| Element::read(&Attrs::new(payload))));
    }

    /// All elements in the order of their keys, with ranges put together.
    pub(super) fn shown(&self) -> Vec<view::Element> {
        let mut sorted: Vec<&Element> = self.elements.iter().collect();
        // The end of one range may be the start of the next.
        sorted.sort_by(|a, b| (a.catchall, &a.key, !a.ends).cmp(&(b.catchall, &b.key, !b.ends)));
        let mut shown = Vec::with_capacity(sorted.len());
        for (i, element) in sorted.iter().enumerate().filter(|(_, e)| !e.ends) {
            let key = if element.catchall {
                "*".to_owned()
            } else if let Some(end) = &element.end {
                self.show(&self.key, &element.key, end)
            } else if self.flags & INTERVAL != 0 {
                let end = sorted.get(i + 1).filter(|next| next.ends);
                self.show(
                    &self.key,
                    &element.key,
                    &last(&element.key, end.map(|e| &e.key[..])),
                )
            } else {
                self.show(&self.key, &element.key, &element.key)
            };
            shown.push(view::Element {
                key,
                data: element.data.as_ref().map(|d| self.show_data(d)),
                timeout_ms: element.timeout_ms,
                expires_ms: element.expires_ms,
            });
        }
        shown
    }

    /// A key or datum, or a range of them, part by part.
    fn show(&self, parts: &[(String, Kind, usize)], low: &[u8], high: &[u8]) -> String {
        if let [(_, kind, _)] = parts {
            // nft turns numbers round in keys of ranges, so that their order is that of the bytes.
            let number = self.flags & INTERVAL != 0 && matches!(kind, Kind::Host | Kind::Mark);
            return if number { Kind::Big } else { *kind }.show_range(low, high);
        }
        let (mut low, mut high) = (low, high);
        let mut shown = Vec::new();
        for (_, kind, length) in parts {
            let length = if *length == 0 { low.len() } else { *length };
            let whole = (length + 3) & !3;
            let (Some(l), Some(h)) = (low.get(..length), high.get(..length)) else {
                break;
            };
            shown.push(kind.show_range(l, h));
            (low, high) = (
                low.get(whole..).unwrap_or_default(),
                high.get(whole..).unwrap_or_default(),
            );
        }
        if !low.is_empty() || shown.is_empty() {
            shown.push(if low == high {
                hex(low)
            } else {
                format!("{}-{}", hex(low), hex(high))
            });
        }
        shown.join(" . ")
    }

    fn show_data(&self, data: &Result<Vec<u8>, String>) -> String {
        match (data, &self.data) {
            (Ok(bytes), Some(Data::Value(parts))) => self.show(parts, bytes, bytes),
            (Ok(bytes), _) => hex(bytes),
            (Err(verdict), _) => verdict.clone(),
        }
    }

    /// The set as it is shown, with at most so many elements.
    pub(super) fn view(&self, limit: usize) -> view::Set {
        let names = |parts: &[(String, Kind, usize)]| {
            let names: Vec<&str> = parts.iter().map(|(name, _, _)| name.as_str()).collect();
            if names.is_empty() {
                "unknown".to_owned()
            } else {
                names.join(" . ")
            }
        };
        let mut elements = self.shown();
        let count = elements.len();
        elements.truncate(limit);
        view::Set {
            name: self.name.clone(),
            key: names(&self.key),
            data: self.data.as_ref().map(|data| match data {
                Data::Verdict => "verdict".to_owned(),
                Data::Value(parts) => names(parts),
            }),
            flags: FLAGS
                .iter()
                .filter(|(f, _)| self.flags & f != 0)
                .map(|(_, n)| *n)
                .collect(),
            size: self.size,
            timeout_ms: self.timeout_ms,
            count,
            elements,
        }
    }
}

impl Element {
    fn read(attrs: &Attrs) -> Option<Self> {
        let flags = attrs.get(3).and_then(be32).unwrap_or(0);
        let bytes = |kind| {
            attrs
                .get(kind)
                .and_then(|p| Attrs::new(p).get(1))
                .map(<[u8]>::to_vec)
        };
        let catchall = flags & 0x2 != 0;
        let data = attrs
            .get(2)
            .map(Attrs::new)
            .and_then(|data| match data.get(2) {
                Some(payload) => Some(Err(value::verdict(payload)?)),
                None => data.get(1).map(|bytes| Ok(bytes.to_vec())),
            });
        Some(Self {
            key: if catchall { Vec::new() } else { bytes(1)? },
            end: bytes(10),
            ends: flags & 0x1 != 0,
            catchall,
            data,
            timeout_ms: attrs.get(4).and_then(be64),
            expires_ms: attrs.get(5).and_then(be64),
        })
    }
}

/// The last key of a range that ends before `end`, or with the highest key there is.
fn last(start: &[u8], end: Option<&[u8]>) -> Vec<u8> {
    let Some(end) = end else {
        return vec![0xff; start.len()];
    };
    let mut last = end.to_vec();
    for byte in last.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    last
}
