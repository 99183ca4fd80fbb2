// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy's IPVS mode makes of the takeover scenarios' Services.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ferrule_conformance::object::{Service, cluster};
use ferrule_conformance::scenario::takeover::showcase;

use crate::node::Node;

/// The programs that list it, and where the answers belong.
const LISTS: [(&str, &[&str]); 5] = [
    ("ipvsadm", &["ipvsadm", "-Sn"]),
    ("ipset", &["ipset", "save"]),
    ("iptables-save", &["iptables-save"]),
    ("ip6tables-save", &["ip6tables-save"]),
    (
        "addresses",
        &["ip", "-oneline", "address", "show", "kube-ipvs0"],
    ),
];

/// Prints each list after a line `==> NAME`.
pub(crate) fn run(kube_proxy: &Path) -> Result<()> {
    let services = showcase();
    let objects = cluster(3)
        .into_iter()
        .chain(services.iter().flat_map(Service::objects));
    let mut node = Node::new(objects.collect())?;
    node.start(kube_proxy)?;
    let mut last = String::new();
    let mut same = 0;
    // Done, when nothing has changed for so long that a full synchronization must have come.
    while same < 5 {
        std::thread::sleep(Duration::from_secs(10));
        node.check()?;
        let mut now = String::new();
        for (_, command) in &LISTS[..2] {
            now += &list(&node, command)?;
        }
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    node.stop()?;
    for (name, command) in LISTS {
        println!("==> ipvs.{name}\n{}", list(&node, command)?);
    }
    Ok(())
}

fn list(node: &Node, command: &[&str]) -> Result<String> {
    let name = command.join(" ");
    let output = node
        .namespace
        .enter(|| Ok(Command::new(command[0]).args(&command[1..]).output()?));
    let output = output.with_context(|| name.clone())?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
