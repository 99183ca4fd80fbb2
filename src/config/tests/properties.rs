// SPDX-License-Identifier: Apache-2.0
//! No input makes it panic.

use proptest::prelude::*;

use super::*;

fn yaml() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "mode",
        "iptables",
        "nftables",
        "syncPeriod",
        "clusterCIDR",
        "conntrack",
        "min",
        "logging",
        "nodePortAddresses",
        "healthzBindAddress",
        "detectLocalMode",
        "x",
        "bindAddress",
        "vmodule",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "[ -~]{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(vec![
            "10.0.0.0/8",
            "1.2.3.4:5",
            "30s",
            "'::'",
            "'[::1]:1'",
            "*a",
            "&a b"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

proptest! {
    /// Whatever a file holds is a configuration or an error with at least one line.
    #[test]
    fn no_file_panics(text in yaml(), noise in ".{0,60}", garbage in any::<bool>()) {
        let body = if garbage { noise } else { text };
        for text in [body.clone(), format!("{HEAD}mode: {body}\nconntrack: {body}\n"),
                     format!("{HEAD}clusterCIDR: {body}"), format!("{HEAD}iptables: {body}")] {
            prop_assert_eq!(fuzzing::check(&text), Ok(()));
        }
    }

    /// Nor does a file of the recording in which bytes are changed, moved or left out.
    #[test]
    fn no_damaged_file_panics(
        seed in prop::sample::select(super::recorder::texts()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let mut bytes = seed.into_bytes();
        for (index, byte, kind) in damage {
            let at = index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = byte % 128,
                1 => bytes.insert(at, byte % 128),
                2 => drop(bytes.remove(at)),
                _ => {
                    let (from, to) = (at.min(byte.into()), at.max(byte.into()).min(bytes.len()));
                    let part = bytes[from..to].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(fuzzing::check(&text), Ok(()));
    }

    /// Any address text is parsed or refused.
    #[test]
    fn no_address_panics(text in "[0-9a-f:.\\[\\]/%x -]{0,24}") {
        let _ = address::ip(&text);
        let _ = address::cidr(&text);
        let _ = address::socket(&text);
        let _ = crate::cli::parse_period(&text);
    }
}
