// SPDX-License-Identifier: Apache-2.0

use std::collections::HashMap;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::backend::netlink::{Attrs, Writer};
use crate::backend::testing::{in_namespace, skip};

/// Rules as nft takes them and as they must come out; `=` if in the same words.
const RULES: &[(&str, &str)] = &[
    ("ip daddr @addresses jump other", "="),
    ("ip daddr != @addresses return", "="),
    ("ip daddr . meta l4proto . th dport vmap @verdicts", "="),
    ("ip saddr 10.0.0.0/8 goto other", "="),
    ("ip saddr != 10.0.0.0/12 drop", "="),
    ("ip daddr 10.1.2.128/25 ip saddr 10.1.2.3 accept", "="),
    ("ip daddr >= 10.1.2.3 accept", "="),
    ("ip daddr 10.1.2.3-10.1.2.9 accept", "="),
    ("iifname \"cni*\" return", "="),
    ("oifname != \"eth0\" return", "="),
    ("fib saddr type local accept", "="),
    ("fib daddr . iif type != local drop", "="),
    ("ct status dnat jump other", "="),
    ("ct state established,related accept", "="),
    ("ct state invalid drop comment \"why\"", "="),
    ("meta l4proto { tcp, udp, sctp } return", "="),
    ("meta l4proto sctp return", "="),
    ("tcp dport 80 accept", "meta l4proto tcp th dport 80 accept"),
    (
        "th dport { 80, 90-100 } counter packets 0 bytes 0 drop",
        "=",
    ),
    ("meta l4proto tcp reject with tcp reset", "="),
    ("reject", "="),
    ("reject with icmp host-prohibited", "="),
    ("masquerade fully-random", "="),
    ("meta l4proto tcp masquerade to :1024-65535 persistent", "="),
    ("meta l4proto tcp snat ip to 10.1.2.3:1024-2047 random", "="),
    ("dnat ip to 10.1.2.3-10.1.2.9", "="),
    (
        "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @endpoints",
        "=",
    ),
    (
        "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 offset 32768 map \
         @endpoints",
        "=",
    ),
    ("dnat to 10.1.2.3", "dnat ip to 10.1.2.3"),
    ("meta l4proto tcp dnat ip to 10.1.2.3:80", "="),
    ("meta l4proto tcp redirect to :8080", "="),
    (
        "snat to 10.1.2.3 fully-random",
        "snat ip to 10.1.2.3 fully-random",
    ),
    (
        "numgen random mod 2 vmap { 0 : goto other, 1 : return }",
        "=",
    ),
    (
        "update @clients { ip saddr timeout 10800s : ip daddr . th dport }",
        "=",
    ),
    ("add @seen { ip saddr }", "="),
    (
        "ip daddr . meta l4proto . th dport . ip saddr @ranges accept",
        "=",
    ),
    ("meta mark 1-300 accept", "="),
    ("update @seen { ip saddr timeout 90s }", "="),
    (
        "meta l4proto tcp ct original ip saddr . ct original ip daddr . ct original proto-dst \
         @known accept",
        "=",
    ),
    ("meta l4proto tcp ct original proto-dst 80 accept", "="),
    ("meta mark & 0x4000 == 0x4000 return", "="),
    ("meta mark set 0x10", "="),
    ("ct mark set meta mark", "="),
    ("@th,104,8 & 0x12 == 0x02 accept", "="),
    (
        "limit rate 10/second burst 5 packets log prefix \"seen: \"",
        "=",
    ),
    ("quota over 25 mbytes drop", ""),
];

/// Sets for [`RULES`]; ADDR is the type of addresses, IP the family.
const SETS: &str = "
    set addresses { typeof IP daddr; }
    map verdicts { typeof IP daddr . meta l4proto . th dport : verdict; }
    map endpoints { typeof IP daddr . meta l4proto . th dport . numgen random mod 65536 : IP daddr \
                    . th dport; }
    map clients { typeof IP saddr : IP daddr . th dport;
                  size 100; flags dynamic,timeout; timeout 1h; }
    set seen { typeof IP saddr; size 100; flags dynamic,timeout; }
    set known { typeof IP saddr . IP daddr . th dport; }
    set ranges { typeof IP daddr . meta l4proto . th dport . IP saddr; flags interval; }
    chain other { }
";

/// A rule or set of IPv4 in the words of IPv6.
fn in_ipv6(text: &str) -> String {
    ["ip saddr", "ip daddr", "dnat ip ", "snat ip "]
        .iter()
        .fold(text.to_owned(), |t, w| {
            t.replace(w, &w.replace("ip", "ip6"))
        })
        .replace("to 10.1.2.3:", "to [fd01::3]:")
        .replace("10.1.2.128/25", "fd01:2:3::8000:0:0/81")
        .replace("10.0.0.0/12", "fd80::/12")
        .replace("10.0.0.0/8", "fd00::/8")
        .replace("10.1.2.", "fd01::")
        .replace("icmp host-prohibited", "icmpv6 addr-unreachable")
}

fn nft(arguments: &[&str], input: &str) -> String {
    crate::backend::nft::tests::nft("nft", arguments, input)
}

/// Runs a test in a network namespace, if nft is there to fill it.
fn with_nft(body: impl FnOnce() + Send + 'static) {
    if Command::new("nft").arg("--version").output().is_err() {
        return skip("nft is not installed");
    }
    in_namespace(body);
}

fn shown(options: RulesOptions) -> anyhow::Result<String> {
    let mut out = Vec::new();
    run(options, &mut out)?;
    Ok(String::from_utf8(out)?)
}

fn listing(options: RulesOptions) -> Listing {
    read::listing(&mut Socket::netfilter().unwrap(), &options).unwrap()
}

/// `table FAMILY NAME` with the sets and a chain of these rules.
fn table(family: &str, sets: &str, rules: &[String]) -> String {
    let hook = "type nat hook postrouting priority 100;";
    format!(
        "table {family} ferrule {{ {sets} chain c {{ {hook}\n{}\n}}\n}}\n",
        rules.join("\n")
    )
}

fn check_rules(family: &str, words: fn(&str) -> String) {
    let sets = words(&SETS.replace("IP ", "ip "));
    // redirect, masquerade and dnat are not for the same hook.
    // Some are for one hook only.
    for hook in ["prerouting", "postrouting"] {
        let source = ["masquerade", "snat"];
        let destination = ["dnat ip", "dnat to", "redirect", "reject", "iif type"];
        let wrong: &[&str] = if hook == "prerouting" {
            &source
        } else {
            &destination
        };
        // nft 1.0.6 runs out of registers for a map of IPv6 addresses that packets fill.
        let beyond_nft = |rule: &str| family == "ip6" && rule.contains("@clients");
        let fits = |rule: &str| !wrong.iter().any(|w| rule.contains(w)) && !beyond_nft(rule);
        let chosen: Vec<_> = RULES.iter().filter(|(rule, _)| fits(rule)).collect();
        let rules: Vec<String> = chosen.iter().map(|(rule, _)| words(rule)).collect();
        let load = |rules: &[String]| {
            nft(
                &["-f", "-"],
                &table(family, &sets, rules).replace("postrouting", hook),
            );
            let text = nft(&["-s", "list", "table", family, "ferrule"], "");
            let found = listing(RulesOptions::default());
            nft(&["delete", "table", family, "ferrule"], "");
            let chain = found.tables[0]
                .chains
                .iter()
                .find(|c| c.name == "c")
                .unwrap();
            (
                text,
                chain
                    .rules
                    .iter()
                    .map(|r| r.text.clone())
                    .collect::<Vec<_>>(),
            )
        };
        let (listed, texts) = load(&rules);
        assert_eq!(texts.len(), rules.len());
        for ((rule, expected), text) in chosen.iter().zip(&texts) {
            match *expected {
                "" => assert!(text.contains("[ "), "{text}"),
                "=" => assert_eq!(*text, words(rule)),
                other => assert_eq!(*text, words(other)),
            }
        }
        // What came out means the same to nft.
        let again: Vec<String> = texts
            .iter()
            .zip(&rules)
            .map(|(text, rule)| if text.contains("[ ") { rule } else { text }.clone())
            .collect();
        assert_eq!(load(&again), (listed, texts));
    }
}

#[test]
fn rules_read_as_they_were_written_in_ipv4() {
    with_nft(|| check_rules("ip", str::to_owned));
}

#[test]
fn rules_read_as_they_were_written_in_ipv6() {
    with_nft(|| check_rules("ip6", in_ipv6));
}

#[test]
fn other_families_know_addresses_once_a_rule_says_the_protocol() {
    with_nft(|| {
        nft(
            &["-f", "-"],
            "table inet ferrule { chain c { type filter hook forward priority filter; policy drop;
               ip saddr 10.0.0.1 accept
               ip6 daddr fd00::/8 drop
               reject with icmpx admin-prohibited
             }
             }
             table netdev ferrule { chain n { }; }",
        );
        let tables = listing(RulesOptions::default()).tables;
        assert_eq!(tables.len(), 2);
        let inet = tables.iter().find(|t| t.family == "inet").unwrap();
        let chain = &inet.chains[0];
        let texts: Vec<_> = chain.rules.iter().map(|r| r.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "meta nfproto ipv4 ip saddr 10.0.0.1 accept",
                "meta nfproto ipv6 ip6 daddr fd00::/8 drop",
                "reject with icmpx admin-prohibited"
            ]
        );
        assert_eq!(
            (chain.hook.as_deref(), chain.priority),
            (Some("forward"), Some(0))
        );
        assert_eq!(
            (chain.r#type.as_deref(), chain.policy),
            (Some("filter"), Some("drop"))
        );
    });
}

const ELEMENTS: &str = "table ip ferrule {
    set a { type ipv4_addr; elements = { 10.0.0.10, 10.0.0.9 } }
    set i { type ipv4_addr; flags interval;
            elements = { 10.0.0.0/8, 11.0.0.0-11.0.0.5, 192.0.2.1, 240.0.0.0/4 } }
    set ports { type inet_service; flags interval; elements = { 0-79, 81, 90-65535 } }
    set marks { type mark; flags interval; elements = { 1-300 } }
    set mixed { type mark . ifname . ether_addr;
                elements = { 0x10 . \"eth0\" . 02:00:00:00:00:01 } }
    set ranges { typeof ip daddr . meta l4proto . th dport . ip saddr; flags interval;
                 elements = { 10.96.0.1 . tcp . 80-90 . 192.0.2.0/24,
                              10.96.0.1 . udp . 53 . 198.51.100.1-198.51.100.9 } }
    map v { type ipv4_addr . inet_proto . inet_service : verdict;
            elements = { 10.96.0.1 . tcp . 80 : goto c, 10.96.0.1 . udp . 80 : drop } }
    map e { typeof ip daddr . meta l4proto . th dport . numgen random mod 65536 : ip daddr . th \
            dport; elements = { 10.96.0.1 . sctp . 80 . 3 : 10.1.0.1 . 8080 } }
    map t { type ipv4_addr : inet_service; flags timeout; timeout 1h; size 9;
            elements = { 10.0.0.1 timeout 30m : 80 } }
    chain c { }
}";

#[test]
fn elements_read_as_they_were_written() {
    with_nft(|| {
        nft(&["-f", "-"], ELEMENTS);
        let options = RulesOptions {
            elements: 100,
            ..RulesOptions::default()
        };
        let table = listing(options).tables.remove(0);
        let set = |name: &str| table.sets.iter().find(|s| s.name == name).unwrap();
        let keys = |name: &str| -> Vec<String> {
            let element = |e: &Element| match &e.data {
                Some(data) => format!("{} : {data}", e.key),
                None => e.key.clone(),
            };
            set(name).elements.iter().map(element).collect()
        };
        assert_eq!(keys("a"), ["10.0.0.9", "10.0.0.10"]);
        assert_eq!(
            keys("i"),
            [
                "10.0.0.0/8",
                "11.0.0.0-11.0.0.5",
                "192.0.2.1",
                "240.0.0.0/4"
            ]
        );
        assert_eq!(keys("ports"), ["0-79", "81", "90-65535"]);
        assert_eq!(keys("marks"), ["1-300"]);
        assert_eq!(keys("mixed"), ["0x10 . \"eth0\" . 02:00:00:00:00:01"]);
        assert_eq!(
            keys("ranges"),
            [
                "10.96.0.1 . tcp . 80-90 . 192.0.2.0/24",
                "10.96.0.1 . udp . 53 . 198.51.100.1-198.51.100.9"
            ]
        );
        assert_eq!(
            keys("v"),
            [
                "10.96.0.1 . tcp . 80 : goto c",
                "10.96.0.1 . udp . 80 : drop"
            ]
        );
        assert_eq!(keys("e"), ["10.96.0.1 . sctp . 80 . 3 : 10.1.0.1 . 8080"]);
        assert_eq!(
            set("e").key,
            "ipv4_addr . inet_proto . inet_service . integer"
        );
        assert_eq!(set("e").data.as_deref(), Some("ipv4_addr . inet_service"));
        assert_eq!(keys("t"), ["10.0.0.1 : 80"]);
        let timed = set("t");
        assert_eq!((timed.size, timed.timeout_ms), (Some(9), Some(3_600_000)));
        assert_eq!(timed.flags, ["timeout"]);
        let element = &timed.elements[0];
        assert_eq!(element.timeout_ms, Some(1_800_000));
        assert!(
            element
                .expires_ms
                .is_some_and(|ms| (1_700_000..=1_800_000).contains(&ms))
        );
    });
}

#[test]
fn text_and_json_tell_the_same() {
    with_nft(|| {
        nft(&["-f", "-"], ELEMENTS);
        nft(&["add", "rule", "ip", "ferrule", "c", "drop"], "");
        let options = |output| RulesOptions {
            elements: 1,
            output,
            ..RulesOptions::default()
        };
        let text = shown(options(Output::Table)).unwrap();
        for part in [
            "table ip ferrule {\n\tset a { # 2 elements\n\t\ttype ipv4_addr\n",
            "\t\telements = {\n\t\t\t10.0.0.9,\n\t\t\t# 1 more\n\t\t}\n",
            "\t\t\t10.0.0.1 timeout 1800s expires 1",
            "\tchain c { # 1 rule\n\t\tdrop\n\t}\n}\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json = shown(options(Output::Json)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        crate::debug::schema::obeys("rules", &json);
        let table = &json["tables"][0];
        assert_eq!(table["sets"][0]["count"], 2);
        assert_eq!(table["sets"][0]["elements"].as_array().unwrap().len(), 1);
        assert_eq!(table["chains"][0]["rules"][0]["text"], "drop");
        assert!(json["generation"].as_u64().is_some());

        let one = RulesOptions {
            set: Some("v".into()),
            ..RulesOptions::default()
        };
        let tables = listing(one).tables;
        assert_eq!((tables[0].sets.len(), tables[0].chains.len()), (1, 0));
        assert_eq!(tables[0].sets[0].count, 2);
    });
}

#[test]
fn what_is_missing_is_named() {
    in_namespace(|| {
        let error = |options| shown(options).unwrap_err().to_string();
        let no_table = "the kernel has no nftables table \"ferrule\"";
        let place = "in this network namespace";
        assert_eq!(
            error(RulesOptions::default()),
            format!("{no_table} {place}")
        );
        let ipv6 = RulesOptions {
            family: Some(IpFamily::V6),
            ..RulesOptions::default()
        };
        assert_eq!(error(ipv6), format!("{no_table} of IPv6 {place}"));
        if Command::new("nft").arg("--version").output().is_err() {
            return skip("nft is not installed");
        }
        nft(&["add", "table", "ip", "ferrule"], "");
        let set = RulesOptions {
            set: Some("gone".into()),
            ..RulesOptions::default()
        };
        assert_eq!(
            error(set),
            "the table \"ferrule\" has no set or map \"gone\""
        );
    });
}

/// An expression with attributes that may or may not make sense.
fn expression(name: &str, args: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut w = Writer::new();
    w.nested(1, |w| {
        w.attr_str(1, name);
        w.nested(2, |w| {
            args.iter().for_each(|(kind, bytes)| w.attr(*kind, bytes))
        });
    });
    w.as_bytes().to_vec()
}

const NAMES: &[&str] = &[
    "payload",
    "meta",
    "ct",
    "numgen",
    "fib",
    "immediate",
    "cmp",
    "range",
    "bitwise",
    "byteorder",
    "lookup",
    "nat",
    "masq",
    "redir",
    "reject",
    "dynset",
    "counter",
    "limit",
    "log",
    "quota",
];

/// Numbers that registers, keys and flags have, nested data, and anything.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let small = (0u32..40).prop_map(|n| n.to_be_bytes().to_vec());
    let data = prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
        let mut w = Writer::new();
        w.attr(1, &bytes);
        w.as_bytes().to_vec()
    });
    let name = Just(b"s\0".to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![5 => small, 2 => data, 1 => name, 1 => bytes]
}

proptest! {
    #[test]
    fn no_rule_makes_it_panic(
        rule in prop::collection::vec(
            (0..NAMES.len(), prop::collection::vec((1u16..11, argument()), 0..8)), 0..12),
        set in prop::collection::vec((1u16..14, argument()), 0..14),
        element in prop::collection::vec((1u16..11, argument()), 0..10),
    ) {
        let bytes: Vec<u8> = rule.iter().flat_map(|(n, args)| expression(NAMES[*n], args)).collect();
        let mut w = Writer::new();
        w.attr_str(2, "s");
        set.iter().for_each(|(kind, bytes)| w.attr(*kind, bytes));
        let mut sets = HashMap::new();
        let mut set = set::Set::read(&Attrs::new(w.as_bytes())).unwrap();
        w.clear();
        w.nested(3, |w| {
            w.nested(1, |w| element.iter().for_each(|(kind, bytes)| w.attr(*kind, bytes)));
        });
        set.add(&Attrs::new(w.as_bytes()));
        let _ = set.view(10).to_string();
        sets.insert("s".to_owned(), set);
        for family in [None, Some(IpFamily::V4), Some(IpFamily::V6)] {
            let text = rule::text(&bytes, None, family, &sets);
            prop_assert!(rule.is_empty() || text.len() < 100_000);
        }
    }
}
