// SPDX-License-Identifier: Apache-2.0
//! User data of rules and sets. The kernel keeps it unread. nft writes into a set's how its keys
//! are spelled (`typeof`) and byte-ordered, and cannot list a set with an index in its key without
//! it; we do the same, and add our fingerprint to both.
//!
//! It is a sequence of records: type, length, value (one byte each, and up to 255). Numbers in it
//! are 32 bits in host order. Types are those of libnftnl's `enum nftnl_udata_set_types` and of
//! nft's `expression.h`; what nft itself writes was captured with `nft --debug=mnl` (1.0.6, 1.1.3).

use crate::model::IpFamily;
use crate::plan::nft::{DataKind, Field, SetSpec};

/// Type of our record, in rules and in sets: 8 bytes, big-endian. nft knows numbers up to 7 and
/// ignores all others.
const FINGERPRINT: u8 = 0xfe;

const KEY_BYTEORDER: u8 = 0;
const DATA_BYTEORDER: u8 = 1;
const KEY_TYPEOF: u8 = 3;
const DATA_TYPEOF: u8 = 4;
const DATA_INTERVAL: u8 = 6;

/// `enum byteorder`.
const MIXED: u32 = 0;
const HOST: u32 = 1;
const NETWORK: u32 = 2;

/// `enum expr_types`.
const EXPR_VERDICT: u32 = 1;
const EXPR_PAYLOAD: u32 = 7;
const EXPR_META: u32 = 9;
const EXPR_CT: u32 = 12;
const EXPR_CONCAT: u32 = 13;
const EXPR_NUMGEN: u32 = 23;

/// `enum proto_desc_id`.
const TRANSPORT_HEADER: u32 = 11;
const IP_HEADER: u32 = 12;
const IP6_HEADER: u32 = 13;
/// `THDR_DPORT`.
const DESTINATION_PORT: u32 = 2;
/// `THDR_SPORT`.
const SOURCE_PORT: u32 = 1;
/// `IPHDR_SADDR`, `IPHDR_DADDR`, `IP6HDR_SADDR`, `IP6HDR_DADDR`.
const ADDRESSES: [u32; 4] = [11, 12, 8, 9];

/// Adds a record.
fn record(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    debug_assert!(
        value.len() <= 255,
        "user data record {kind} of {} bytes",
        value.len()
    );
    out.extend([kind, value.len() as u8]);
    out.extend(value);
}

fn number(out: &mut Vec<u8>, kind: u8, value: u32) {
    record(out, kind, &value.to_ne_bytes());
}

/// A rule's user data.
pub(super) fn of_rule(fingerprint: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    record(&mut out, FINGERPRINT, &fingerprint.to_be_bytes());
    out
}

/// A set's user data.
pub(super) fn of_set(spec: &SetSpec, family: IpFamily, fingerprint: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    number(&mut out, KEY_BYTEORDER, byte_order(&spec.key));
    if spec.data != DataKind::None {
        let single = spec.data == DataKind::Address;
        number(
            &mut out,
            DATA_BYTEORDER,
            if single { NETWORK } else { MIXED },
        );
    }
    record(&mut out, KEY_TYPEOF, &type_of(&spec.key, family));
    match spec.data {
        DataKind::None => {}
        DataKind::Address => {
            record(
                &mut out,
                DATA_TYPEOF,
                &type_of(&[Field::Destination], family),
            );
        }
        DataKind::Verdict => record(&mut out, DATA_TYPEOF, &expression(EXPR_VERDICT, &[])),
        DataKind::Target => {
            let target = [Field::Destination, Field::Port];
            record(&mut out, DATA_TYPEOF, &type_of(&target, family));
        }
    }
    if spec.data != DataKind::None {
        number(&mut out, DATA_INTERVAL, 0);
    }
    record(&mut out, FINGERPRINT, &fingerprint.to_be_bytes());
    out
}

/// The user data of the anonymous set of protocols.
pub(super) fn of_protocols() -> Vec<u8> {
    let key = [Field::Protocol];
    let mut out = Vec::new();
    number(&mut out, KEY_BYTEORDER, byte_order(&key));
    record(&mut out, KEY_TYPEOF, &type_of(&key, IpFamily::V4));
    out
}

/// Our fingerprint in user data that the kernel gave back, if it has one.
pub(super) fn fingerprint(mut bytes: &[u8]) -> Option<u64> {
    while let [kind, length, rest @ ..] = bytes {
        let (value, tail) = rest.split_at_checked(usize::from(*length))?;
        if *kind == FINGERPRINT {
            return Some(u64::from_be_bytes(value.try_into().ok()?));
        }
        bytes = tail;
    }
    None
}

fn byte_order(key: &[Field]) -> u32 {
    match key {
        [Field::Protocol | Field::Random { .. }] => HOST,
        [_] => NETWORK,
        _ => MIXED,
    }
}

/// `typeof` of a key or of data.
fn type_of(fields: &[Field], family: IpFamily) -> Vec<u8> {
    let [single] = fields else {
        let mut parts = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            record(&mut parts, index as u8, &type_of_field(*field, family));
        }
        return expression(EXPR_CONCAT, &parts);
    };
    type_of_field(*single, family)
}

/// An expression's kind and what describes it further.
fn expression(kind: u32, description: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 0, kind);
    record(&mut out, 1, description);
    out
}

fn type_of_field(field: Field, family: IpFamily) -> Vec<u8> {
    let v6 = family == IpFamily::V6;
    let [source_v4, destination_v4, source_v6, destination_v6] = ADDRESSES;
    let header = if v6 { IP6_HEADER } else { IP_HEADER };
    let (kind, values) = match field {
        Field::Source => (
            EXPR_PAYLOAD,
            vec![header, if v6 { source_v6 } else { source_v4 }],
        ),
        Field::Destination => (
            EXPR_PAYLOAD,
            vec![header, if v6 { destination_v6 } else { destination_v4 }],
        ),
        Field::Port => (EXPR_PAYLOAD, vec![TRANSPORT_HEADER, DESTINATION_PORT]),
        Field::SourcePort => (EXPR_PAYLOAD, vec![TRANSPORT_HEADER, SOURCE_PORT]),
        Field::Protocol => (EXPR_META, vec![super::uapi::meta::L4PROTO]),
        Field::Random { modulus, offset } => (EXPR_NUMGEN, vec![1, modulus, offset]),
        Field::OriginalSource => (EXPR_CT, vec![if v6 { 21 } else { 19 }, 0]),
        Field::OriginalDestination => (EXPR_CT, vec![if v6 { 22 } else { 20 }, 0]),
        Field::OriginalPort => (EXPR_CT, vec![super::uapi::ct::PROTO_DST, 0]),
    };
    let mut description = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        number(&mut description, index as u8, value);
    }
    expression(kind, &description)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::nft::SetId;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// As `nft --debug=mnl` 1.0.6 and 1.1.3 send it, with our record after it.
    #[test]
    #[cfg(target_endian = "little")]
    fn sets_are_described_as_nft_describes_them() {
        let cases = [
            (
                SetId::ServiceAddresses,
                IpFamily::V4,
                "0004020000000314000407000000010c00040c00000001040c000000",
            ),
            (
                SetId::Endpoints,
                IpFamily::V6,
                "000400000000010400000000036000040d00000001580014000407000000010c00040d000000010409\
                 000000010e00040900000001060004100000000214000407000000010c00040b000000010402000000\
                 031a0004170000000112000401000000010400000100020400000000043400040d000000012c001400\
                 0407000000010c00040d0000000104090000000114000407000000010c00040b000000010402000000\
                 060400000000",
            ),
            (
                SetId::Nodeports,
                IpFamily::V4,
                "000400000000010400000000032e00040d0000000126000e0004090000000106000410000000011400\
                 0407000000010c00040b00000001040200000004080004010000000100060400000000",
            ),
        ];
        for (set, family, expected) in cases {
            let written = of_set(&set.spec(), family, 0x0102_0304_0506_0708);
            assert_eq!(
                hex(&written),
                format!("{expected}fe080102030405060708"),
                "{set:?}"
            );
            assert_eq!(fingerprint(&written), Some(0x0102_0304_0506_0708));
        }
    }

    /// The kernel takes no more (`NFT_USERDATA_MAXLEN`).
    #[test]
    fn no_set_has_more_than_256_bytes() {
        for set in SetId::ALL {
            assert!(of_set(&set.spec(), IpFamily::V6, 0).len() <= 256, "{set:?}");
        }
    }

    #[test]
    fn broken_or_foreign_user_data_has_no_fingerprint() {
        for bytes in [&[][..], &[1], &[0, 4, 1], &[0, 2, 1, 1], &[0xfe, 2, 1, 1]] {
            assert_eq!(fingerprint(bytes), None, "{bytes:?}");
        }
    }
}
