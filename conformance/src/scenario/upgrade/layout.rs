// SPDX-License-Identifier: Apache-2.0
//! Tables of other versions, as nft text.

use regex::Regex;

/// What earlier versions wrote on node 1 for the scenario's Services; see `UPGRADE_RECORD`. A
/// change of the permanent chains, sets or rules comes with a recording of what was there before.
const RECORDED: [(&str, &str); 1] = [(
    "0.1.0",
    include_str!("../../../testdata/rulesets/0.1.0.nft"),
)];

/// Another version's tables, in both families.
pub(super) struct Layout {
    /// Which.
    pub(super) name: String,
    /// Puts them in the place of what is there, in one commit.
    pub(super) text: String,
}

/// What a newer version may have: base chains that hook in elsewhere, chains and maps that name
/// each other.
const NEWER: &str = "
table ip ferrule {
    map frontends { type ipv4_addr : verdict; elements = { 192.0.2.77 : goto spread-v4 }; }
    chain spread-v4 { counter return; }
    chain front { ip daddr vmap @frontends; }
    chain prerouting-early { type nat hook prerouting priority -110; jump front; }
}
table ip6 ferrule {
    map frontends { type ipv6_addr : verdict; elements = { 2001:db8::77 : goto spread-v6 }; }
    chain spread-v6 { counter return; }
    chain front { ip6 daddr vmap @frontends; }
    chain prerouting-early { type nat hook prerouting priority -110; jump front; }
}
";

/// An element with a verdict that none of ours has.
const STRANGE: &str = "
add element ip ferrule services { 192.0.2.78 . tcp . 9 : return }
add element ip6 ferrule services { 2001:db8::78 . tcp . 9 : return }
";

/// In the place of what is there. The table of a process that has ended is listed with flags that
/// nft 1.0.6 does not load.
fn instead(text: &str) -> String {
    let kept =
        |line: &&str| !line.trim_start().starts_with("flags owner") && line.trim() != "flags";
    let text: Vec<&str> = text.lines().filter(kept).collect();
    format!(
        "delete table ip ferrule\ndelete table ip6 ferrule\n{}\n",
        text.join("\n")
    )
}

/// Chains and a set with other names, and base chains with another priority.
fn older(text: &str) -> String {
    let mut text = text.replace("service-addresses", "vips");
    for (from, to) in [
        (r"\blb-(\d)", "spread-$1"),
        (r"priority (dstnat|-100);", "priority -95;"),
    ] {
        if let Ok(pattern) = Regex::new(from) {
            text = pattern.replace_all(&text, to).into_owned();
        }
    }
    text
}

/// Every one of them.
pub(super) fn all() -> Vec<Layout> {
    let layout = |name: String, text: String| Layout { name, text };
    let mut all = Vec::new();
    for (version, text) in RECORDED {
        let text = instead(text);
        let newer = format!("{text}{NEWER}");
        let strange = format!("{text}{STRANGE}");
        all.push(layout(format!("before {version}"), older(&text)));
        all.push(layout(format!("after {version}"), newer));
        all.push(layout(format!("far after {version}"), strange));
        all.push(layout(version.to_owned(), text));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_another() {
        let all = all();
        for (n, layout) in all.iter().enumerate() {
            let alike = all[..n].iter().find(|other| other.text == layout.text);
            assert!(alike.is_none(), "{}", layout.name);
            assert!(layout.text.contains("table ip6 ferrule"), "{}", layout.name);
        }
        let older = &all[0].text;
        for word in ["spread-3", "@vips", "priority -95"] {
            assert!(older.contains(word), "{word}: {older}");
        }
    }
}
