// SPDX-License-Identifier: Apache-2.0
//! Other agents on the node translate, too: a portmap plugin serves hostPorts, and the load
//! balancer of k3s is a pod with hostPorts on the node's own address, which is the Service's VIP.

use anyhow::{Context, Result, ensure};

use super::{apply, at, clear, combinations, connect, endpoints};
use crate::case::{outside, pod};
use crate::cluster::Cluster;
use crate::object::{Kind, PORT, Service, pod_address, ready, service};
use ferrule::model::IpFamily;

/// DNAT of node 2's port 80 to pod 2b, in a chain of the other agent's own.
fn other_agent(priority: i32) -> String {
    let rule = |f: IpFamily, word: &str| {
        let (vip, target) = (crate::netns::node_address(f, 2), pod_address(f, "2b"));
        let target = match f {
            IpFamily::V4 => format!("{target}:8080"),
            IpFamily::V6 => format!("[{target}]:8080"),
        };
        format!(
            "{word} daddr {vip} meta l4proto {{ tcp, udp, sctp }} th dport 80 dnat {word} to {target}\n"
        )
    };
    let rules = [rule(IpFamily::V4, "ip"), rule(IpFamily::V6, "ip6")].concat();
    format!(
        "table inet portmap {{\n chain hostports {{\n type nat hook prerouting priority {priority};\n{rules} }}\n}}\n"
    )
}

/// Our own answer would be a drop (policy Local, endpoints elsewhere), then a refusal (none at
/// all). The other agent's endpoint answers instead, if its chain comes at the usual priority or
/// somewhat later.
pub(super) fn host_port(cluster: &mut Cluster) -> Result<()> {
    let local = service("edge", [ready("1a")])
        .kind(Kind::OnNode(2))
        .external_local();
    let none = service("edge", []).kind(Kind::OnNode(2));
    for edge in [local, none] {
        let edge = Service {
            id: 940,
            namespace: "scenario",
            ..edge
        };
        apply(cluster, std::slice::from_ref(&edge))?;
        for priority in [-100, -90] {
            let node = &cluster.topology.nodes[1];
            node.nft(&other_agent(priority))?;
            for (family, protocol) in combinations() {
                let vip = edge.load_balancer_ip(family).context("a load balancer")?;
                for from in [outside(2), pod("3b")] {
                    // Node 3 knows the VIP itself, and would refuse before node 2 is asked.
                    if from.via == 0 && edge.endpoints.is_empty() {
                        continue;
                    }
                    let answers = connect(cluster, [from; 10], at(vip, PORT), protocol)?;
                    let who = endpoints(&answers)
                        .with_context(|| format!("{family} {protocol} priority {priority}"))?;
                    let right = if from.via == 2 { "2b" } else { "1a" };
                    ensure!(who.iter().all(|w| w == right), "{from:?}: {who:?}");
                }
            }
            node.nft("delete table inet portmap")?;
        }
    }
    clear(cluster)
}
