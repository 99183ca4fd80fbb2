// SPDX-License-Identifier: Apache-2.0
//! Sets and elements as attributes.

use super::encode::{KNOWN_PROTOCOLS, length, verdict_data};
use super::uapi::{LIST_ELEM, data, elem, set};
use super::userdata;
use crate::backend::netlink::Writer;
use crate::model::{IpFamily, Protocol};
use crate::plan::nft::{Data, DataKind, Element, Field, Key, SetSpec, TABLE, Verdict};
use crate::plan::nft::{set_fingerprint, text};

/// Bits that nft sets aside for each part of a concatenated type (`TYPE_BITS`).
const TYPE_BITS: u32 = 6;
/// The parts of [`DataKind::Target`].
const TARGET: &[Field] = &[Field::Destination, Field::Port];

/// nft's number of a field's type (`enum datatypes`).
pub(in crate::backend) fn data_type(field: Field, family: IpFamily) -> u32 {
    match field {
        Field::Source | Field::Destination | Field::OriginalSource | Field::OriginalDestination => {
            match family {
                IpFamily::V4 => 7,
                IpFamily::V6 => 8,
            }
        }
        Field::Protocol => 12,
        Field::Port | Field::SourcePort | Field::OriginalPort => 13,
        Field::Random { .. } => 4,
    }
}

/// nft's number of a concatenation's type.
fn concatenated_type(fields: &[Field], family: IpFamily) -> u32 {
    fields
        .iter()
        .fold(0, |sum, f| (sum << TYPE_BITS) | data_type(*f, family))
}

/// Length of a key in bytes: parts of a concatenation begin at multiples of four.
pub(in crate::backend) fn key_length(fields: &[Field], family: IpFamily) -> usize {
    match fields {
        [single] => length(*single, family),
        _ => fields
            .iter()
            .map(|f| length(*f, family).next_multiple_of(4))
            .sum(),
    }
}

/// `enum nft_set_flags` of a set.
pub(super) fn flags(spec: &SetSpec) -> u32 {
    let mut flags = 0;
    if spec.data != DataKind::None {
        flags |= set::MAP;
    }
    if spec.interval {
        flags |= set::INTERVAL;
        if spec.key.len() > 1 {
            flags |= set::CONCAT;
        }
    }
    if spec.dynamic.is_some() {
        flags |= set::TIMEOUT | set::EVAL;
    }
    flags
}

/// Writes the attributes of a new set. `id` is its number in the batch.
pub(super) fn definition(w: &mut Writer, spec: &SetSpec, family: IpFamily, id: u32) {
    definition_in(w, TABLE, spec, family, id);
}

/// As [`definition`], for a table of another name.
pub(super) fn definition_in(
    w: &mut Writer,
    table: &str,
    spec: &SetSpec,
    family: IpFamily,
    id: u32,
) {
    w.attr_str(set::TABLE, table);
    w.attr_str(set::NAME, spec.name.as_str());
    w.attr_be32(set::FLAGS, flags(spec));
    w.attr_be32(set::KEY_TYPE, concatenated_type(&spec.key, family));
    w.attr_be32(set::KEY_LEN, key_length(&spec.key, family) as u32);
    match spec.data {
        DataKind::None => {}
        DataKind::Verdict => {
            w.attr_be32(set::DATA_TYPE, set::DATA_VERDICT);
            w.attr_be32(set::DATA_LEN, 0);
        }
        DataKind::Address => {
            let address = &[Field::Destination];
            w.attr_be32(set::DATA_TYPE, concatenated_type(address, family));
            w.attr_be32(set::DATA_LEN, key_length(address, family) as u32);
        }
        DataKind::Target => {
            w.attr_be32(set::DATA_TYPE, concatenated_type(TARGET, family));
            w.attr_be32(set::DATA_LEN, key_length(TARGET, family) as u32);
        }
    }
    w.attr_be32(set::ID, id);
    description(w, spec, family);
    let fingerprint = set_fingerprint(spec, family);
    w.attr(set::USERDATA, &userdata::of_set(spec, family, fingerprint));
}

/// Capacity, and the lengths of the parts, which the kernel needs to compare ranges part by part.
fn description(w: &mut Writer, spec: &SetSpec, family: IpFamily) {
    let parts = spec.interval && spec.key.len() > 1;
    if spec.dynamic.is_none() && !parts {
        return;
    }
    w.nested(set::DESC, |w| {
        if let Some(size) = spec.dynamic {
            w.attr_be32(set::DESC_SIZE, size);
        }
        if parts {
            w.nested(set::DESC_CONCAT, |w| {
                for field in &spec.key {
                    let length = length(*field, family) as u32;
                    w.nested(LIST_ELEM, |w| w.attr_be32(set::FIELD_LEN, length));
                }
            });
        }
    });
}

/// Writes the attributes of the anonymous set of the protocols that a Service may have.
pub(super) fn protocols_definition(w: &mut Writer, id: u32) {
    w.attr_str(set::TABLE, TABLE);
    w.attr_str(set::NAME, KNOWN_PROTOCOLS);
    w.attr_be32(set::FLAGS, set::ANONYMOUS | set::CONSTANT);
    w.attr_be32(set::KEY_TYPE, data_type(Field::Protocol, IpFamily::V4));
    w.attr_be32(set::KEY_LEN, 1);
    w.attr_be32(set::ID, id);
    w.nested(set::DESC, |w| {
        w.attr_be32(set::DESC_SIZE, Protocol::ALL.len() as u32)
    });
    w.attr(set::USERDATA, &userdata::of_protocols());
}

/// Writes the attributes of the message that fills that set.
pub(super) fn protocols(w: &mut Writer, id: u32) {
    w.attr_str(elem::LIST_TABLE, TABLE);
    w.attr_str(elem::LIST_SET, KNOWN_PROTOCOLS);
    w.attr_be32(elem::LIST_SET_ID, id);
    w.nested(elem::LIST_ELEMENTS, |w| {
        for protocol in Protocol::ALL {
            w.nested(LIST_ELEM, |w| value(w, elem::KEY, &[protocol.number()]));
        }
    });
}

fn value(w: &mut Writer, kind: u16, bytes: &[u8]) {
    w.nested(kind, |w| w.attr(data::VALUE, bytes));
}

/// Writes a key alone: what is deleted is named by it.
pub(super) fn key(w: &mut Writer, key: &Key, end: Option<&Key>, length: usize) {
    let cut = |key: &Key| key.as_bytes().len().min(length);
    w.nested(LIST_ELEM, |w| {
        value(w, elem::KEY, &key.as_bytes()[..cut(key)]);
        if let Some(end) = end {
            value(w, elem::KEY_END, &end.as_bytes()[..cut(end)]);
        }
    });
}

/// Writes an element with its data. `length` is that of the set's keys.
pub(super) fn element(w: &mut Writer, element: &Element, length: usize) {
    let cut = |key: &Key| key.as_bytes().len().min(length);
    w.nested(LIST_ELEM, |w| {
        value(w, elem::KEY, &element.key.as_bytes()[..cut(&element.key)]);
        if let Some(end) = &element.end {
            value(w, elem::KEY_END, &end.as_bytes()[..cut(end)]);
        }
        match &element.data {
            Data::None => {}
            Data::Target(address, port) => {
                value(
                    w,
                    elem::DATA,
                    Key::EMPTY.address(*address).port(*port).as_bytes(),
                );
            }
            Data::Address(address) => {
                value(w, elem::DATA, Key::EMPTY.address(*address).as_bytes());
            }
            Data::Verdict(verdict) => {
                let (code, chain) = match verdict {
                    Verdict::Drop => (data::DROP, None),
                    Verdict::Goto(chain) => (data::GOTO, Some(chain)),
                    Verdict::Jump(chain) => (data::JUMP, Some(chain)),
                };
                w.nested(elem::DATA, |w| verdict_data(w, code, chain));
            }
        }
    });
}

/// Names an element in an error: `ip ferrule services { 10.96.0.1 . tcp . 443 : goto lb-3 }`.
pub(super) fn element_name(element: &Element, family: IpFamily) -> String {
    let set = super::object(family, element.set.name());
    format!("{set} {{ {} }}", text::element(element, family))
}
