// SPDX-License-Identifier: Apache-2.0
//! Differences that are intended: a short list, entered by hand, each with its reason.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::health;
use super::outcome::Outcome;
use super::probe::{From, Frontend};
use super::rig::Difference;

/// The list itself.
const LIST: &str = include_str!("../../differential-allowed.json");
/// More than so many would be a second specification.
const MOST: usize = 10;

/// An intended difference. Fields that are not there match anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Short name.
    pub name: String,
    /// Why ferrule does otherwise.
    pub reason: String,
    /// Number of kube-proxy's issue in kubernetes/kubernetes, where there is one.
    #[serde(default)]
    pub issue: Option<u32>,
    /// `pod`, `node` or `outside`.
    #[serde(default)]
    from: Option<String>,
    /// Kinds of frontends.
    #[serde(default)]
    frontend: Vec<Frontend>,
    /// Protocols.
    #[serde(default)]
    protocol: Vec<String>,
    /// All that was seen in kube-proxy's world, one of these.
    #[serde(default)]
    kube_proxy: Vec<String>,
    /// All that was seen in ours, one of these.
    #[serde(default)]
    ferrule: Vec<String>,
    /// Instead of the two: what both must have seen, computed from the objects.
    #[serde(default)]
    computed: Option<Computed>,
}

/// An intended difference that depends on the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Computed {
    /// kube-proxy's health check has the number of the family that is asked, ours the larger one.
    LargerFamily,
}

/// Reads the list.
///
/// # Errors
/// If it cannot be read, or has grown too long.
pub fn list() -> Result<Vec<Allowed>> {
    let list: Vec<Allowed> = serde_json::from_str(LIST)?;
    if list.len() > MOST {
        bail!("{} intended differences: {MOST} are the most", list.len());
    }
    Ok(list)
}

impl Allowed {
    /// Whether this is such a difference. The objects are those of its case, or more.
    pub fn covers(&self, difference: &Difference, objects: &[Value]) -> bool {
        let probe = &difference.probe;
        let from = match probe.from {
            From::Pod(_) => "pod",
            From::Node(_) => "node",
            From::Outside(_) => "outside",
        };
        let one_of = |list: &[String], word: &String| list.is_empty() || list.contains(word);
        let seen = |list: &[String], outcome: &Outcome| {
            !outcome.seen.is_empty() && outcome.seen.iter().all(|word| one_of(list, word))
        };
        self.from.as_deref().is_none_or(|f| f == from)
            && (self.frontend.is_empty() || self.frontend.contains(&probe.frontend))
            && one_of(&self.protocol, &probe.protocol)
            && seen(&self.kube_proxy, &difference.kube_proxy)
            && seen(&self.ferrule, &difference.ferrule)
            && match self.computed {
                None => true,
                Some(Computed::LargerFamily) => larger_family(difference, objects),
            }
    }
}

/// Whether kube-proxy counted the endpoints of the family that was asked, and ferrule, for the same
/// Service, those of the other one, because they are more.
fn larger_family(difference: &Difference, objects: &[Value]) -> bool {
    let only = |outcome: &Outcome, count| outcome.seen.iter().eq([&health::expected(count)]);
    health::local_endpoints(objects, &difference.probe).is_some_and(|(asked, larger)| {
        asked < larger && only(&difference.kube_proxy, asked) && only(&difference.ferrule, larger)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::differential::probe::Probe;

    #[test]
    fn every_entry_says_what_and_why() {
        for entry in list().expect("readable") {
            assert!(entry.reason.len() > 40, "{}", entry.name);
            let says = !entry.kube_proxy.is_empty() && !entry.ferrule.is_empty();
            assert!(says != entry.computed.is_some(), "{}", entry.name);
        }
    }

    fn slice(name: &str, family: &str, addresses: &[(&str, bool)]) -> Value {
        let endpoint = |(address, ready): &(&str, bool)| json!({ "addresses": [address], "nodeName": "node-1", "conditions": { "ready": ready } });
        json!({
            "kind": "EndpointSlice",
            "metadata": { "labels": { "kubernetes.io/service-name": name } },
            "addressType": family,
            "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        })
    }

    /// One ready endpoint in IPv4, two in IPv6, on node 1.
    fn objects(families: &[&str]) -> Vec<Value> {
        vec![
            json!({
                "kind": "Service",
                "metadata": { "name": "s" },
                "spec": { "healthCheckNodePort": 31_000, "ipFamilies": families },
            }),
            slice("s", "IPv4", &[("10.0.0.1", true), ("10.0.0.2", false)]),
            slice("s", "IPv6", &[("fd00::1", true), ("fd00::2", true)]),
            slice("other", "IPv4", &[("10.0.0.8", true), ("10.0.0.9", true)]),
        ]
    }

    /// Whether any entry covers what these two answer to IPv4's health check on a node.
    fn covered(node: u16, families: &[&str], kube_proxy: &str, ferrule: &str) -> bool {
        let outcome = |word: &str| Outcome {
            seen: [word.to_owned()].into(),
            sticky: None,
        };
        let difference = Difference {
            probe: Probe {
                from: From::Node(node),
                source: None,
                frontend: Frontend::HealthCheck,
                protocol: "tcp".to_owned(),
                to: "172.30.0.11:31000".parse().expect("an address"),
                sticky: None,
            },
            kube_proxy: outcome(kube_proxy),
            ferrule: outcome(ferrule),
        };
        let objects = objects(families);
        let mut list = list().expect("readable").into_iter();
        list.any(|entry| entry.covers(&difference, &objects))
    }

    #[test]
    fn a_health_check_may_count_the_larger_family_and_nothing_else() {
        let both = ["IPv4", "IPv6"];
        let [none, one, two, three] = [0, 1, 2, 3].map(health::expected);
        assert!(covered(1, &both, &one, &two));
        // Other numbers, the other way round, another node, a Service of one family only.
        assert!(!covered(1, &both, &one, &three));
        assert!(!covered(1, &both, &one, &none));
        assert!(!covered(1, &both, &none, &two));
        assert!(!covered(1, &both, &two, &one));
        assert!(!covered(2, &both, &one, &two));
        assert!(!covered(1, &["IPv4"], &one, &two));
        // The same numbers, but something else with them.
        let sick = two.replace("healthy true", "healthy false");
        assert!(!covered(1, &both, &one, &sick));
        assert!(!covered(1, &both, &one, "health: ConnectionRefused"));
        assert!(!covered(1, &both, "health: ConnectionRefused", &two));
    }
}
