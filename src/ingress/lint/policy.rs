// SPDX-License-Identifier: Apache-2.0
//! NetworkPolicies that let in the pods of ingress-nginx. The sidecar is no pod of that namespace,
//! and has its node's address: such a policy would keep it out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Finding, FindingKind};

/// The labels by which policies name ingress-nginx, or its namespace.
const NAME: &str = "ingress-nginx";

/// Looks at NetworkPolicies (networking.k8s.io/v1) of namespaces that have Ingresses.
pub fn findings(policies: &[Value], namespaces: &BTreeSet<String>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in policies {
        let text = |field: &str| policy["metadata"][field].as_str().unwrap_or_default();
        let namespace = match text("namespace") {
            "" => "default",
            namespace => namespace,
        };
        if !namespaces.contains(namespace) || !keeps_nodes_out(&policy["spec"]) {
            continue;
        }
        found.push(Finding {
            object: format!("NetworkPolicy {namespace}/{}", text("name")),
            annotation: String::new(),
            kind: FindingKind::Policy,
            text: "lets in ingress-nginx, but the sidecar comes from its node's address: add an \
                   ipBlock with the addresses of all nodes"
                .to_owned(),
        });
    }
    found
}

/// Whether some rule lets in ingress-nginx, and none lets in addresses or everybody.
fn keeps_nodes_out(spec: &Value) -> bool {
    let types = spec["policyTypes"].as_array();
    if types.is_some_and(|types| !types.iter().any(|kind| kind == "Ingress")) {
        return false;
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let rules = list(&spec["ingress"]);
    let peers: Vec<Vec<Value>> = rules.iter().map(|rule| list(&rule["from"])).collect();
    let open = peers.iter().any(|peers| {
        // A rule without `from` lets in everybody.
        peers.is_empty() || peers.iter().any(|peer| peer["ipBlock"].is_object())
    });
    let mut all = peers.iter().flatten();
    !open && all.any(is_ingress_nginx)
}

fn is_ingress_nginx(peer: &Value) -> bool {
    ["namespaceSelector", "podSelector"]
        .iter()
        .any(|selector| selects(&peer[*selector]))
}

fn selects(selector: &Value) -> bool {
    let named = |value: &Value| value.as_str().is_some_and(|text| text.contains(NAME));
    let labels = selector["matchLabels"].as_object();
    let by_label = labels.is_some_and(|labels| labels.values().any(named));
    let expressions = selector["matchExpressions"].as_array();
    let by_expression = expressions.is_some_and(|all| {
        let of = |one: &Value| {
            one["values"]
                .as_array()
                .is_some_and(|v| v.iter().any(named))
        };
        all.iter().any(|one| one["operator"] == "In" && of(one))
    });
    by_label || by_expression
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: Value) -> usize {
        let policy = json!({"metadata": {"name": "allow", "namespace": "shop"}, "spec": spec});
        findings(&[policy], &BTreeSet::from(["shop".to_owned()])).len()
    }

    #[test]
    fn policies_that_let_in_the_namespace_of_ingress_nginx_only() {
        let by_name = json!({"namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}});
        let by_pod = json!({"namespaceSelector": {}, "podSelector": {
            "matchLabels": {"app.kubernetes.io/name": "ingress-nginx"}}});
        let by_expression = json!({"namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In",
             "values": ["monitoring", "ingress-nginx"]}]}});
        for peer in [&by_name, &by_pod, &by_expression] {
            assert_eq!(found(json!({"ingress": [{"from": [peer]}]})), 1, "{peer}");
            let types = json!({"policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]});
            assert_eq!(found(types), 1);
        }
        let block = json!({"ipBlock": {"cidr": "10.0.0.0/24"}});
        let other = json!({"podSelector": {"matchLabels": {"app": "front"}}});
        assert_eq!(found(json!({"ingress": [{"from": [by_name, other]}]})), 1);
        for open in [
            json!({"ingress": [{"from": [by_name, block]}]}),
            json!({"ingress": [{"from": [by_name]}, {"from": [block]}]}),
            json!({"ingress": [{"from": [by_name]}, {}]}),
            json!({"ingress": [{"from": [other]}]}),
            json!({"policyTypes": ["Egress"], "ingress": [{"from": [by_name]}]}),
            json!({}),
        ] {
            assert_eq!(found(open.clone()), 0, "{open}");
        }
    }

    #[test]
    fn policies_of_namespaces_without_ingresses_do_not_matter() {
        let peer = json!({"namespaceSelector": {"matchLabels": {"name": "ingress-nginx"}}});
        let policy =
            json!({"metadata": {"name": "allow"}, "spec": {"ingress": [{"from": [peer]}]}});
        let policies = [policy];
        let of = |namespace: &str| {
            let found = findings(&policies, &BTreeSet::from([namespace.to_owned()]));
            found.into_iter().map(|f| f.object).collect::<Vec<_>>()
        };
        assert_eq!(of("default"), ["NetworkPolicy default/allow"]);
        assert_eq!(of("shop"), [""; 0]);
    }
}
