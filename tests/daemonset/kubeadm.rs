// SPDX-License-Identifier: Apache-2.0
//! What kubeadm writes for kube-proxy starts ferrule too, with only the image changed.

use std::path::Path;

use ferrule::cli;
use ferrule::config::{Action, Config, Source};
use ferrule::plan::options::Detector;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::config::Kubeconfig;
use serde_json::Value;

use super::files::{documents, only};

const MANIFEST: &str = include_str!("kubeadm/kube-proxy.yaml");
const CONFIG: &str = "/var/lib/kube-proxy/config.conf";
const KUBECONFIG: &str = "/var/lib/kube-proxy/kubeconfig.conf";

fn objects() -> Vec<Value> {
    documents(MANIFEST)
}

fn container() -> Container {
    let daemonset = only::<DaemonSet>(&objects(), "DaemonSet").spec.unwrap();
    let mut containers = daemonset.template.spec.unwrap().containers;
    assert_eq!(containers.len(), 1);
    containers.remove(0)
}

#[test]
fn the_program_is_called_by_a_path_of_our_image() {
    let command = container().command.unwrap();
    assert_eq!(command[0], "/usr/local/bin/kube-proxy");
}

#[test]
fn command_line_and_file_are_read() {
    let cli = cli::parse(container().command.unwrap()).unwrap();
    assert_eq!(cli.proxy.config.as_deref(), Some(Path::new(CONFIG)));
    let map = only::<ConfigMap>(&objects(), "ConfigMap").data.unwrap();
    let config = Config::resolve(&cli, Some(&map["config.conf"]), "host").unwrap();
    assert_eq!(config.action, Action::Run);
    assert_eq!(
        config.source,
        Source::Cluster {
            kubeconfig: Some(KUBECONFIG.into()),
            server: None
        }
    );
    assert!(matches!(config.rules.detector, Detector::ClusterCidr(nets) if nets.len() == 2));
    assert_eq!(config.listen.healthz.unwrap().port(), 10256);
    assert_eq!(config.listen.metrics.unwrap().port(), 10249);
}

#[test]
fn the_kubeconfig_is_read() {
    let map = only::<ConfigMap>(&objects(), "ConfigMap").data.unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&map["kubeconfig.conf"]).unwrap();
    let user = kubeconfig.auth_infos[0].auth_info.as_ref().unwrap();
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(user.token_file.as_deref(), Some(token));
    let cluster = kubeconfig.clusters[0].cluster.as_ref().unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://172.30.0.2:6443"));
}

#[test]
fn the_account_has_the_role_of_a_proxy() {
    let binding = only::<ClusterRoleBinding>(&objects(), "ClusterRoleBinding");
    assert_eq!(binding.role_ref.name, "system:node-proxier");
}
