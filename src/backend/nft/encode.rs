// SPDX-License-Identifier: Apache-2.0
//! Rules as the kernel's expressions, the same ones in the same registers as nft makes of the
//! rule's text, so that nft can list them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::uapi::{
    LIST_ELEM, bitwise, cmp, ct, data, dynset, expr, fib, hash, immediate, lookup, masq, meta, nat,
    numgen, payload, reject,
};
use crate::backend::netlink::Writer;
use crate::model::{IpFamily, Protocol};
use crate::plan::nft::{Action, ChainName, Field, Match, Rule};

/// Longest interface name with its NUL byte (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;
/// 32-bit slots that nft sets aside for a value that is no concatenation.
const WHOLE_REGISTER: usize = 4;

/// The anonymous set of `meta l4proto { tcp, udp, sctp }`, as a rule refers to it: by the id that
/// it has in the batch. The kernel replaces `%d` by a number.
pub(super) const KNOWN_PROTOCOLS: &str = "__set%d";

/// Number of the register that begins at a 32-bit slot: nft, and so the kernel when it answers,
/// counts in 128-bit registers where it can (`nft_parse_register`).
fn register(slot: usize) -> u32 {
    if slot.is_multiple_of(WHOLE_REGISTER) {
        1 + (slot / WHOLE_REGISTER) as u32
    } else {
        8 + slot as u32
    }
}

/// Length of a field's value in bytes.
pub(super) fn length(field: Field, family: IpFamily) -> usize {
    match field {
        Field::Source | Field::Destination | Field::OriginalSource | Field::OriginalDestination => {
            match family {
                IpFamily::V4 => 4,
                IpFamily::V6 => 16,
            }
        }
        Field::Protocol => 1,
        Field::Port | Field::SourcePort | Field::OriginalPort => 2,
        Field::Random { .. } => 4,
    }
}

/// 32-bit slots that a field takes.
fn slots(field: Field, family: IpFamily) -> usize {
    length(field, family).div_ceil(4)
}

/// Writes a rule's expressions. `known_protocols` is the batch's id of the anonymous set for
/// [`Match::KnownProtocol`].
pub(super) fn rule(w: &mut Writer, rule: &Rule, family: IpFamily, known_protocols: u32) {
    for m in &rule.matches {
        condition(w, m, family, known_protocols);
    }
    action(w, &rule.action, family);
}

/// Writes one expression.
fn expression(w: &mut Writer, name: &str, body: impl FnOnce(&mut Writer)) {
    w.nested(LIST_ELEM, |w| {
        w.attr_str(expr::NAME, name);
        w.nested(expr::DATA, body);
    });
}

/// The conditions that a packet is of a flow.
pub(super) fn flow(w: &mut Writer, flow: &super::marking::Flow) {
    let protocol = [flow.protocol.number()];
    let (source, port) = (flow.source_port.to_be_bytes(), flow.port.to_be_bytes());
    let v4;
    let v6;
    let address: &[u8] = match flow.destination {
        IpAddr::V4(address) => {
            v4 = address.octets();
            &v4
        }
        IpAddr::V6(address) => {
            v6 = address.octets();
            &v6
        }
    };
    let conditions: [(Field, &[u8]); 4] = [
        (Field::Destination, address),
        (Field::Protocol, &protocol),
        (Field::SourcePort, &source),
        (Field::Port, &port),
    ];
    for (field, value) in conditions {
        load(w, field, flow.family, 0);
        compare(w, false, value);
    }
}

/// `meta nftrace set 1`.
pub(super) fn trace_this(w: &mut Writer) {
    expression(w, "immediate", |w| {
        w.attr_be32(immediate::DREG, register(0));
        w.nested(immediate::DATA, |w| w.attr(data::VALUE, &[1]));
    });
    expression(w, "meta", |w| {
        w.attr_be32(meta::KEY, meta::NFTRACE);
        w.attr_be32(meta::SREG, register(0));
    });
}

/// Loads the hash of so many bytes from a slot on, scaled down to below `modulus`, into the first
/// register (`jhash … mod`).
pub(super) fn hash(w: &mut Writer, slot: usize, length: usize, modulus: u32, seed: u32) {
    expression(w, "hash", |w| {
        w.attr_be32(hash::SREG, register(slot));
        w.attr_be32(hash::DREG, register(0));
        w.attr_be32(hash::LEN, length as u32);
        w.attr_be32(hash::MODULUS, modulus);
        w.attr_be32(hash::SEED, seed);
        w.attr_be32(hash::TYPE, hash::JENKINS);
    });
}

/// `ct event set`: which of its events connection tracking tells of the flow (`IPCT_*` bits).
pub(super) fn events(w: &mut Writer, mask: u32) {
    expression(w, "immediate", |w| {
        w.attr_be32(immediate::DREG, register(0));
        w.nested(immediate::DATA, |w| {
            w.attr(data::VALUE, &mask.to_ne_bytes());
        });
    });
    expression(w, "ct", |w| {
        w.attr_be32(ct::KEY, ct::EVENT_MASK);
        w.attr_be32(ct::SREG, register(0));
    });
}

/// Where in the TCP header the flags are, bytes (RFC 9293).
const TCP_FLAGS: u32 = 13;
const TCP_SYN: u8 = 2;

pub(super) fn condition(w: &mut Writer, m: &Match, family: IpFamily, known_protocols: u32) {
    match m {
        Match::InSet(key, set) => {
            load_key(w, key, family, 0);
            look_up(w, set.as_str(), None);
        }
        Match::Prefix(field, net, negated) => prefix(w, *field, net, *negated, family),
        Match::Interface(name, negated) => interface(w, name, *negated),
        Match::SourceLocal => local(w, fib::SADDR, false),
        Match::DestinationNotLocal => local(w, fib::DADDR, true),
        Match::Translated => {
            load_ct(w, ct::STATUS, None, 0);
            masked(w, &ct::DST_NAT.to_ne_bytes());
            compare(w, true, &[0; 4]);
        }
        Match::ProtocolIs(protocol) => {
            load(w, Field::Protocol, family, 0);
            compare(w, false, &[protocol.number()]);
        }
        Match::PortIs(port) => {
            load(w, Field::Port, family, 0);
            compare(w, false, &port.to_be_bytes());
        }
        Match::MidStream => {
            condition(
                w,
                &Match::ProtocolIs(Protocol::Tcp),
                family,
                known_protocols,
            );
            load_payload(w, payload::TRANSPORT_HEADER, TCP_FLAGS, 1, 0);
            masked(w, &[TCP_SYN]);
            compare(w, false, &[0]);
        }
        Match::Invalid => {
            load_ct(w, ct::STATE, None, 0);
            masked(w, &ct::INVALID.to_ne_bytes());
            compare(w, true, &[0; 4]);
        }
        Match::KnownProtocol => {
            load(w, Field::Protocol, family, 0);
            expression(w, "lookup", |w| {
                w.attr_be32(lookup::SREG, register(0));
                w.attr_str(lookup::SET, KNOWN_PROTOCOLS);
                w.attr_be32(lookup::SET_ID, known_protocols);
            });
        }
    }
}

fn action(w: &mut Writer, action: &Action, family: IpFamily) {
    match action {
        Action::Accept => verdict(w, data::ACCEPT, None),
        Action::Drop => verdict(w, data::DROP, None),
        Action::Return => verdict(w, data::RETURN, None),
        Action::Goto(chain) => verdict(w, data::GOTO, Some(chain)),
        Action::Jump(chain) => verdict(w, data::JUMP, Some(chain)),
        Action::Reject => reject(w, family),
        Action::Reset => expression(w, "reject", |w| {
            w.attr_be32(reject::TYPE, reject::TCP_RST);
        }),
        Action::Dnat(key, map) => {
            load_key(w, key, family, 0);
            look_up(w, map.as_str(), Some(register(0)));
            dnat(w, family, slots(Field::Destination, family), false);
        }
        Action::DnatTo { key, map, port } => {
            load_key(w, key, family, 0);
            look_up(w, map.as_str(), Some(register(0)));
            expression(w, "immediate", |w| {
                w.attr_be32(immediate::DREG, register(WHOLE_REGISTER));
                w.nested(immediate::DATA, |w| {
                    w.attr(data::VALUE, &port.to_be_bytes())
                });
            });
            dnat(w, family, WHOLE_REGISTER, true);
        }
        Action::VerdictMap(key, map) => {
            load_key(w, key, family, 0);
            look_up(w, map.as_str(), Some(0));
        }
        Action::Masquerade => expression(w, "masq", |w| {
            w.attr_be32(masq::FLAGS, masq::FULLY_RANDOM);
        }),
        Action::Update {
            set,
            key,
            timeout,
            data,
        } => {
            let registers = load_update(w, key, data, family);
            update(w, set.as_str(), *timeout, registers);
        }
    }
}

/// ICMP port unreachable.
fn reject(w: &mut Writer, family: IpFamily) {
    let code = match family {
        IpFamily::V4 => reject::PORT_V4,
        IpFamily::V6 => reject::PORT_V6,
    };
    expression(w, "reject", |w| {
        w.attr_be32(reject::TYPE, reject::ICMP_UNREACH);
        w.attr_u8(reject::ICMP_CODE, code);
    });
}

/// Adds what the registers hold to a set, or refreshes its time-out (seconds).
fn update(w: &mut Writer, set: &str, timeout: u32, (key, data): (u32, Option<u32>)) {
    expression(w, "dynset", |w| {
        w.attr_be32(dynset::SREG_KEY, key);
        if let Some(data) = data {
            w.attr_be32(dynset::SREG_DATA, data);
        }
        w.attr_be32(dynset::OP, dynset::UPDATE);
        w.attr_be64(dynset::TIMEOUT, u64::from(timeout) * 1000);
        w.attr_str(dynset::SET_NAME, set);
    });
}

/// Loads key and data of an update, and returns their registers.
fn load_update(
    w: &mut Writer,
    key: &[Field],
    data: &[Field],
    family: IpFamily,
) -> (u32, Option<u32>) {
    let end = load_key(w, key, family, 0);
    let slot = if key.len() == 1 { WHOLE_REGISTER } else { end };
    load_key(w, data, family, slot);
    (register(0), (!data.is_empty()).then(|| register(slot)))
}

/// Loads the parts of a key one after the other, from a slot on; returns the slot after them.
pub(super) fn load_key(w: &mut Writer, key: &[Field], family: IpFamily, mut slot: usize) -> usize {
    for field in key {
        load(w, *field, family, slot);
        slot += slots(*field, family);
    }
    slot
}

fn load(w: &mut Writer, field: Field, family: IpFamily, slot: usize) {
    use IpFamily::{V4, V6};
    match field {
        Field::Source | Field::Destination => {
            let (offset, length) = (address_offset(field, family), length(field, family));
            load_payload(w, payload::NETWORK_HEADER, offset, length, slot);
        }
        Field::Port => load_payload(w, payload::TRANSPORT_HEADER, 2, 2, slot),
        Field::SourcePort => load_payload(w, payload::TRANSPORT_HEADER, 0, 2, slot),
        Field::Protocol => load_meta(w, meta::L4PROTO, slot),
        Field::Random { modulus, offset } => expression(w, "numgen", |w| {
            w.attr_be32(numgen::DREG, register(slot));
            w.attr_be32(numgen::MODULUS, modulus);
            w.attr_be32(numgen::TYPE, numgen::RANDOM);
            w.attr_be32(numgen::OFFSET, offset);
        }),
        Field::OriginalSource => {
            let key = if family == V6 {
                ct::SRC_IP6
            } else {
                ct::SRC_IP
            };
            load_ct(w, key, Some(ct::ORIGINAL), slot);
        }
        Field::OriginalDestination => {
            let key = if family == V4 {
                ct::DST_IP
            } else {
                ct::DST_IP6
            };
            load_ct(w, key, Some(ct::ORIGINAL), slot);
        }
        Field::OriginalPort => load_ct(w, ct::PROTO_DST, Some(ct::ORIGINAL), slot),
    }
}

/// Where in the network header an address is, bytes (RFC 791, RFC 8200).
fn address_offset(field: Field, family: IpFamily) -> u32 {
    match (field, family) {
        (Field::Source, IpFamily::V4) => 12,
        (_, IpFamily::V4) => 16,
        (Field::Source, IpFamily::V6) => 8,
        (_, IpFamily::V6) => 24,
    }
}

fn load_payload(w: &mut Writer, base: u32, offset: u32, length: usize, slot: usize) {
    expression(w, "payload", |w| {
        w.attr_be32(payload::DREG, register(slot));
        w.attr_be32(payload::BASE, base);
        w.attr_be32(payload::OFFSET, offset);
        w.attr_be32(payload::LEN, length as u32);
    });
}

fn load_meta(w: &mut Writer, key: u32, slot: usize) {
    expression(w, "meta", |w| {
        w.attr_be32(meta::KEY, key);
        w.attr_be32(meta::DREG, register(slot));
    });
}

pub(super) fn load_ct(w: &mut Writer, key: u32, direction: Option<u8>, slot: usize) {
    expression(w, "ct", |w| {
        w.attr_be32(ct::KEY, key);
        w.attr_be32(ct::DREG, register(slot));
        if let Some(direction) = direction {
            w.attr_u8(ct::DIRECTION, direction);
        }
    });
}

/// Compares a field with a prefix. As nft does it: of a prefix of whole bytes only those are
/// compared, and of a packet's address only those are loaded; else the address is masked.
fn prefix(w: &mut Writer, field: Field, net: &IpNet, negated: bool, family: IpFamily) {
    let (network, mask) = (octets(net.network()), octets(net.netmask()));
    let length = usize::from(net.prefix_len());
    if length == 0 || !length.is_multiple_of(8) {
        load(w, field, family, 0);
        masked(w, &mask);
        return compare(w, negated, &network);
    }
    let bytes = length / 8;
    if matches!(field, Field::Source | Field::Destination) {
        let offset = address_offset(field, family);
        load_payload(w, payload::NETWORK_HEADER, offset, bytes, 0);
    } else {
        load(w, field, family, 0);
    }
    compare(w, negated, &network[..bytes]);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn interface(w: &mut Writer, name: &str, negated: bool) {
    load_meta(w, meta::IIFNAME, 0);
    let mut whole = [0; IFNAMSIZ];
    match name.strip_suffix('*') {
        // Names have at most 15 bytes: one that begins with so many is no longer.
        Some(start) if start.len() < IFNAMSIZ - 1 => compare(w, negated, start.as_bytes()),
        shortened => {
            let name = shortened.unwrap_or(name).as_bytes();
            let length = name.len().min(IFNAMSIZ);
            whole[..length].copy_from_slice(&name[..length]);
            compare(w, negated, &whole);
        }
    }
}

/// Whether a packet's address is (or with `not` is not) one of this node.
fn local(w: &mut Writer, address: u32, not: bool) {
    expression(w, "fib", |w| {
        w.attr_be32(fib::FLAGS, address);
        w.attr_be32(fib::RESULT, fib::ADDRTYPE);
        w.attr_be32(fib::DREG, register(0));
    });
    compare(w, not, &fib::LOCAL.to_ne_bytes());
}

/// Masks what is in the first register.
fn masked(w: &mut Writer, mask: &[u8]) {
    expression(w, "bitwise", |w| {
        w.attr_be32(bitwise::SREG, register(0));
        w.attr_be32(bitwise::DREG, register(0));
        w.attr_be32(bitwise::LEN, mask.len() as u32);
        w.nested(bitwise::MASK, |w| w.attr(data::VALUE, mask));
        w.nested(bitwise::XOR, |w| w.attr(data::VALUE, &vec![0; mask.len()]));
    });
}

/// Compares what is in the first register.
pub(super) fn compare(w: &mut Writer, not_equal: bool, value: &[u8]) {
    expression(w, "cmp", |w| {
        w.attr_be32(cmp::SREG, register(0));
        w.attr_be32(cmp::OP, if not_equal { cmp::NEQ } else { cmp::EQ });
        w.nested(cmp::DATA, |w| w.attr(data::VALUE, value));
    });
}

/// Looks up what begins in the first register; of a map the data goes to a register.
fn look_up(w: &mut Writer, set: &str, data: Option<u32>) {
    expression(w, "lookup", |w| {
        w.attr_be32(lookup::SREG, register(0));
        if let Some(register) = data {
            w.attr_be32(lookup::DREG, register);
        }
        w.attr_str(lookup::SET, set);
    });
}

/// Translates to the address in the first register and the port in the given slot. nft sets a flag
/// for a port of its own, and none for one that came out of the map with the address.
fn dnat(w: &mut Writer, family: IpFamily, port: usize, own_port: bool) {
    expression(w, "nat", |w| {
        w.attr_be32(nat::TYPE, nat::DNAT);
        w.attr_be32(nat::FAMILY, u32::from(super::nfproto(family)));
        w.attr_be32(nat::REG_ADDR_MIN, register(0));
        w.attr_be32(nat::REG_PROTO_MIN, register(port));
        if own_port {
            w.attr_be32(nat::FLAGS, nat::PROTO_SPECIFIED);
        }
    });
}

pub(super) fn verdict(w: &mut Writer, code: i32, chain: Option<&ChainName>) {
    expression(w, "immediate", |w| {
        w.attr_be32(immediate::DREG, 0);
        w.nested(immediate::DATA, |w| verdict_data(w, code, chain));
    });
}

/// Writes a verdict as data.
pub(super) fn verdict_data(w: &mut Writer, code: i32, chain: Option<&ChainName>) {
    w.nested(data::VERDICT, |w| {
        w.attr_be32(data::VERDICT_CODE, code as u32);
        if let Some(chain) = chain {
            w.attr_str(data::VERDICT_CHAIN, chain.as_str());
        }
    });
}
