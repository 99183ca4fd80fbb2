// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::plan::fixture::{dual_stack, ipvs_options, options, plan_all};
use crate::plan::nft::SetId;

fn snapshot(options: &crate::plan::Options) -> (Wanted, Snapshot) {
    let rulesets =
        IpFamily::ALL.map(|family| (family, plan_all(&dual_stack(), options, family).ruleset()));
    let wanted = rulesets
        .iter()
        .map(|(f, r)| (*f, Image::of(r, *f)))
        .collect();
    let held = |(family, ruleset)| {
        let held = Held {
            ruleset,
            ..Held::default()
        };
        (family, held)
    };
    let snapshot = Snapshot {
        families: rulesets.into_iter().map(held).collect(),
        ..Snapshot::default()
    };
    (wanted, snapshot)
}

fn printed(compared: &Comparison) -> String {
    let mut out = Vec::new();
    page(compared, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn each_kind_of_difference_is_named() {
    let (wanted, mut snapshot) = snapshot(&options());
    let equal = compare("agent", &wanted, &snapshot);
    assert_eq!(equal.differences, []);
    assert!(printed(&equal).starts_with("equal: the kernel holds the "));
    let held = snapshot.families.get_mut(&IpFamily::V4).unwrap();
    let key = held
        .ruleset
        .elements_of(SetId::Services)
        .next()
        .unwrap()
        .key;
    held.ruleset.elements.remove(&(SetId::Services, key));
    held.strange
        .push(("prerouting".to_owned(), "counter drop".to_owned()));
    held.ruleset.chains.insert(
        "more".into(),
        std::sync::Arc::new(crate::plan::nft::ChainSpec {
            name: "more".into(),
            base: None,
            rules: Vec::new(),
        }),
    );
    snapshot.families.remove(&IpFamily::V6);
    let compared = compare("agent", &wanted, &snapshot);
    crate::debug::schema::obeys("diff", &serde_json::to_value(&compared).unwrap());
    let text = printed(&compared);
    for line in [
        "missing: ip element services 10.96.0.10 . tcp . 80\n    - goto lb-3\n",
        "differs: ip chain prerouting\n",
        "jump nodeports; counter drop\n",
        "not wanted: ip chain more\n",
        "missing: ip6 table ip6 ferrule\n",
        "4 differences (- wanted, + held) among ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn draining_real_servers_are_no_difference() {
    let (wanted, mut snapshot) = snapshot(&ipvs_options());
    assert_eq!(compare("agent", &wanted, &snapshot).differences, []);
    let held = snapshot.families.get_mut(&IpFamily::V4).unwrap();
    let server = held.ruleset.servers.values_mut().next().unwrap();
    let server = std::sync::Arc::make_mut(server);
    let target = |text: &str| crate::model::Target {
        address: text.parse().unwrap(),
        port: 80,
    };
    server.destinations.insert(target("10.9.9.9"), 0);
    server.destinations.insert(target("10.9.9.8"), 1);
    let compared = compare("agent", &wanted, &snapshot);
    assert_eq!(
        (compared.draining.len(), compared.differences.len()),
        (1, 1)
    );
    assert_eq!(compared.differences[0].kind, "real server");
}
