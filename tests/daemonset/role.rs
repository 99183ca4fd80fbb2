// SPDX-License-Identifier: Apache-2.0
//! The agent's rights are what it uses, and what Kubernetes' role for kube-proxy gives.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};

use serde_json::Value;

use super::files::{documents, manifests, only, text};

/// API group, resource and verb.
type Right = (String, String, String);

/// The role `system:node-proxier` of Kubernetes v1.36.3
/// (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go).
const NODE_PROXIER: &[(&str, &str, &[&str])] = &[
    ("", "services", &["list", "watch"]),
    ("", "endpoints", &["list", "watch"]),
    ("", "nodes", &["get", "list", "watch"]),
    ("", "events", &["create", "patch", "update"]),
    ("events.k8s.io", "events", &["create", "patch", "update"]),
    ("networking.k8s.io", "servicecidrs", &["list", "watch"]),
    ("discovery.k8s.io", "endpointslices", &["list", "watch"]),
];

fn rights(table: &[(&str, &str, &[&str])]) -> BTreeSet<Right> {
    let right = |group: &str, resource: &str, verb: &&str| {
        (group.to_owned(), resource.to_owned(), (*verb).to_owned())
    };
    let rights = table
        .iter()
        .flat_map(|(group, resource, verbs)| verbs.iter().map(|v| right(group, resource, v)));
    rights.collect()
}

fn granted() -> BTreeSet<Right> {
    granted_by(&manifests())
}

fn granted_by(manifests: &[Value]) -> BTreeSet<Right> {
    let role = only::<ClusterRole>(manifests, "ClusterRole");
    let mut granted = BTreeSet::new();
    for rule in role.rules.unwrap() {
        for group in rule.api_groups.unwrap() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    granted.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    granted
}

/// Group and plural of each kind that the sources name as watched.
fn watched() -> BTreeSet<(String, String)> {
    watched_by("src/watch/cluster/kind.rs")
}

fn watched_by(file: &str) -> BTreeSet<(String, String)> {
    let source = text(file);
    let values = |name: &str| -> Vec<String> {
        let lines = source.lines().map(str::trim);
        let start = format!("const {name}: &'static str = \"");
        let rests = lines.filter_map(|line| line.strip_prefix(&start));
        rests
            .map(|rest| rest.trim_end_matches("\";").to_owned())
            .collect()
    };
    let (groups, plurals) = (values("GROUP"), values("PLURAL"));
    assert_eq!(groups.len(), plurals.len());
    assert!(groups.len() >= 4, "the constants are not found any more");
    groups.into_iter().zip(plurals).collect()
}

#[test]
fn every_right_is_used() {
    let mut expected = rights(&[("events.k8s.io", "events", &["create", "patch"])]);
    for (group, plural) in watched() {
        for verb in ["list", "watch"] {
            expected.insert((group.clone(), plural.clone(), verb.to_owned()));
        }
    }
    assert_eq!(granted(), expected);
}

/// What annotations name, too: Secrets of users and authorities, ConfigMaps of headers.
#[test]
fn the_sidecar_may_watch_what_it_watches_in_all_namespaces() {
    let granted = granted_by(&documents(&text("daemonset/ingress/role.yaml")));
    let watched = watched_by("src/watch/cluster/ingress.rs");
    for named in ["secrets", "configmaps"] {
        let named = (String::new(), named.to_owned());
        assert!(watched.contains(&named), "{named:?} is not found any more");
    }
    for (group, plural) in watched {
        for verb in ["list", "watch"] {
            let right = (group.clone(), plural.clone(), verb.to_owned());
            assert!(granted.contains(&right), "{right:?}");
        }
    }
}

#[test]
fn kube_proxys_role_has_all_of_them() {
    let (granted, theirs) = (granted(), rights(NODE_PROXIER));
    let missing: Vec<&Right> = granted.difference(&theirs).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_account_is_bound_to_the_role() {
    let account = only::<ServiceAccount>(&manifests(), "ServiceAccount");
    assert_eq!(account.automount_service_account_token, Some(false));
    let role = only::<ClusterRole>(&manifests(), "ClusterRole")
        .metadata
        .name;
    let binding = only::<ClusterRoleBinding>(&manifests(), "ClusterRoleBinding");
    assert_eq!(Some(binding.role_ref.name), role);
    let subjects = binding.subjects.unwrap();
    assert_eq!(subjects.len(), 1);
    assert_eq!(Some(&subjects[0].name), account.metadata.name.as_ref());
    assert_eq!(subjects[0].namespace, account.metadata.namespace);
}
