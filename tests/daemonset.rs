// SPDX-License-Identifier: Apache-2.0
//! The manifest that users apply: well-formed, and its configuration is one that we read.

use ferrule::cli;
use ferrule::config::{Action, Config, Source};
use ferrule::plan::options::{Detector, NodePortAddresses};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use serde::de::DeserializeOwned;
use serde_json::Value;

const MANIFEST: &str = include_str!("../daemonset/ferrule.yaml");

/// The only object of a kind; every field of it must be known to the type.
fn object<T: DeserializeOwned>(kind: &str) -> T {
    let objects: Vec<Value> = serde_saphyr::from_str_multiple(MANIFEST).unwrap();
    let mut found: Vec<Value> = objects.into_iter().filter(|o| o["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    let mut unknown = Vec::new();
    let object = found.remove(0);
    let object = serde_ignored::deserialize(&object, |path| unknown.push(path.to_string()));
    let object = object.unwrap_or_else(|error| panic!("{kind}: {error}"));
    assert!(unknown.is_empty(), "{kind}: {unknown:?}");
    object
}

fn container() -> Container {
    let pod = object::<DaemonSet>("DaemonSet")
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    assert_eq!(pod.host_network, Some(true));
    assert_eq!(
        pod.priority_class_name.as_deref(),
        Some("system-node-critical")
    );
    assert_eq!(pod.containers.len(), 1);
    pod.containers.into_iter().next().unwrap()
}

#[test]
fn account_has_the_role_of_a_proxy() {
    let account = object::<ServiceAccount>("ServiceAccount").metadata;
    let binding = object::<ClusterRoleBinding>("ClusterRoleBinding");
    assert_eq!(binding.role_ref.name, "system:node-proxier");
    let subject = binding.subjects.unwrap().remove(0);
    assert_eq!(
        (Some(subject.name), subject.namespace),
        (account.name, account.namespace)
    );
}

#[test]
fn command_line_and_configuration_are_ours() {
    let command = container().command.unwrap();
    let cli = cli::parse(command).unwrap();
    let map = object::<ConfigMap>("ConfigMap").data.unwrap();
    assert_eq!(
        cli.proxy.config.as_deref().unwrap().to_str(),
        Some("/etc/ferrule/config.yaml")
    );
    let config = Config::resolve(&cli, Some(&map["config.yaml"]), "host").unwrap();
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.action, Action::Run);
    assert_eq!(
        config.source,
        Source::Cluster {
            kubeconfig: None,
            server: None
        }
    );
    assert_eq!(config.rules.node_port_addresses, NodePortAddresses::Primary);
    assert!(matches!(config.rules.detector, Detector::ClusterCidr(nets) if nets.len() == 1));
    assert_eq!(config.listen.healthz.unwrap().port(), 10256);
}

#[test]
fn container_has_one_capability_and_probes() {
    let container = container();
    let context = container.security_context.unwrap();
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.privileged, None);
    let capabilities = context.capabilities.unwrap();
    assert_eq!(capabilities.add.unwrap(), ["NET_ADMIN"]);
    assert_eq!(capabilities.drop.unwrap(), ["ALL"]);
    for (probe, path) in [
        (container.liveness_probe, "/livez"),
        (container.readiness_probe, "/healthz"),
    ] {
        assert_eq!(probe.unwrap().http_get.unwrap().path.as_deref(), Some(path));
    }
}
