// SPDX-License-Identifier: Apache-2.0
//! Negative control: faults that are put into ferrule's rules by `nft`, each of which must be
//! noticed.

use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrule::model::IpFamily;

use super::world::World;
use crate::netns::Namespace;

/// A fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// What is wrong then.
    pub name: &'static str,
    /// `CHAIN -> RULE` rewrites each chain whose name begins so and goes on with nothing but a
    /// number, written N in the rule; `flush ...` is nft's own.
    edit: &'static str,
}

const fn fault(name: &'static str, edit: &'static str) -> Fault {
    Fault { name, edit }
}

/// All faults.
pub const FAULTS: [Fault; 13] = [
    fault(
        "a pod that reaches itself is not masqueraded",
        "flush set hairpin",
    ),
    fault(
        "external traffic is not masqueraded",
        "flush set masquerade-services",
    ),
    fault(
        "NodePort traffic is not masqueraded",
        "flush set masquerade-nodeports",
    ),
    fault("nobody is within a source range", "flush set source-ranges"),
    fault(
        "everybody is within a source range",
        "ranges-lb- -> goto lb-N",
    ),
    fault(
        "policy Local is deaf to the outside",
        "flush map services-outside",
    ),
    fault(
        "policy Local is deaf to the inside",
        "flush map nodeports-inside",
    ),
    fault(
        "policy Local sends outside traffic anywhere",
        "local- -> goto lb-N",
    ),
    fault("NodePorts are closed", "flush map nodeports"),
    fault(
        "Services without endpoints are not refused",
        "flush map refused-services",
    ),
    fault("Services without endpoints drop", "no-endpoints -> drop"),
    fault(
        "unused ports of a ClusterIP are not refused",
        "flush set cluster-ips",
    ),
    fault("clients are not remembered", "flush chain learn"),
];

impl Fault {
    /// Puts it into the rules of all nodes, in both families.
    ///
    /// # Errors
    /// If the rules can't be changed: then they are not there.
    pub fn apply(&self, world: &World) -> Result<()> {
        for node in &world.cluster.topology.nodes {
            for family in ["ip", "ip6"] {
                let script = self.script(node, family)?;
                node.nft(&script)
                    .with_context(|| format!("{}: {script}", self.name))?;
            }
        }
        Ok(())
    }

    fn script(&self, node: &Namespace, family: &str) -> Result<String> {
        let Some((chain, rule)) = self.edit.split_once(" -> ") else {
            let words: Vec<_> = self.edit.split(' ').collect();
            return Ok(format!(
                "{} {} {family} ferrule {}\n",
                words[0], words[1], words[2]
            ));
        };
        let mut script = String::new();
        for name in chains(node, family)? {
            let Some(rest) = name.strip_prefix(chain) else {
                continue;
            };
            let number = rest.parse::<u32>().ok();
            if number.is_none() && !rest.is_empty() {
                continue;
            }
            let rule = rule.replace('N', &number.unwrap_or(0).to_string());
            script += &format!(
                "flush chain {family} ferrule {name}\nadd rule {family} ferrule {name} {rule}\n"
            );
        }
        Ok(script)
    }
}

/// Names of the chains of our table.
fn chains(node: &Namespace, family: &str) -> Result<Vec<String>> {
    let output = node.enter(|| {
        Ok(Command::new("nft")
            .args(["list", "table", family, "ferrule"])
            .output()?)
    })?;
    if !output.status.success() {
        bail!("nft list: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| {
        Some(
            line.trim()
                .strip_prefix("chain ")?
                .split(' ')
                .next()?
                .to_owned(),
        )
    };
    Ok(text.lines().filter_map(name).collect())
}

/// Takes the tables away, so that an agent that is started next makes them anew.
///
/// # Errors
/// If nft fails.
pub fn remove_tables(world: &World) -> Result<()> {
    for node in &world.cluster.topology.nodes {
        for family in IpFamily::ALL {
            let word = if family == IpFamily::V4 { "ip" } else { "ip6" };
            node.nft(&format!("delete table {word} ferrule\n"))?;
        }
    }
    Ok(())
}
