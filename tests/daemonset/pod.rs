// SPDX-License-Identifier: Apache-2.0
//! The DaemonSet of our own: what the pod may do, and that it starts what we think.

use ferrule::cli;
use ferrule::config::{Action, Config, Source};
use ferrule::plan::options::{Detector, NodePortAddresses};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::files::{manifests, only};

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn daemonset() -> DaemonSetSpec {
    only::<DaemonSet>(&manifests(), "DaemonSet").spec.unwrap()
}

fn pod() -> PodSpec {
    daemonset().template.spec.unwrap()
}

fn agent() -> Container {
    let containers = pod().containers;
    assert_eq!(containers.len(), 1);
    containers.into_iter().next().unwrap()
}

fn init() -> Container {
    let containers = pod().init_containers.unwrap();
    assert_eq!(containers.len(), 1);
    containers.into_iter().next().unwrap()
}

fn mounts(container: &Container) -> Vec<(String, bool)> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts
        .map(|m| (m.mount_path.clone(), m.read_only == Some(true)))
        .collect()
}

/// The configuration that a container's command line leads to.
fn config(container: Container) -> Config {
    let cli = cli::parse(container.command.unwrap()).unwrap();
    let map = only::<ConfigMap>(&manifests(), "ConfigMap").data.unwrap();
    let file = cli.proxy.config.clone().unwrap();
    assert_eq!(file.to_str(), Some("/etc/ferrule/config.yaml"));
    Config::resolve(&cli, Some(&map["config.yaml"]), "host").unwrap()
}

#[test]
fn configuration_is_one_that_we_read_without_a_warning() {
    let config = config(agent());
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
    assert_eq!(config.rules.detector, Detector::NodeCidr);
    assert_eq!(config.listen.healthz.unwrap().port(), 10256);
}

#[test]
fn the_agent_has_one_capability() {
    let context = agent().security_context.unwrap();
    assert_eq!(context.run_as_user, Some(0));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.privileged, None);
    let capabilities = context.capabilities.unwrap();
    assert_eq!(capabilities.add.unwrap(), ["NET_ADMIN"]);
    assert_eq!(capabilities.drop.unwrap(), ["ALL"]);
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
}

#[test]
fn nothing_of_the_host_is_mounted() {
    for volume in pod().volumes.unwrap() {
        assert!(volume.host_path.is_none(), "{}", volume.name);
    }
    let agent = mounts(&agent());
    let writable: Vec<&str> = agent
        .iter()
        .filter(|(_, read_only)| !read_only)
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(writable, ["/run/ferrule", "/var/lib/ferrule"]);
}

#[test]
fn only_the_agent_is_given_the_token() {
    assert_eq!(pod().automount_service_account_token, Some(false));
    assert!(mounts(&agent()).contains(&(TOKEN.to_owned(), true)));
    assert_eq!(mounts(&init()), [("/etc/ferrule".to_owned(), true)]);
}

#[test]
fn the_privileged_container_ends_after_the_settings() {
    let init = init();
    let context = init.security_context.clone().unwrap();
    assert_eq!(context.privileged, Some(true));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(init.image, agent().image);
    let config = config(init);
    assert_eq!(config.action, Action::InitOnly);
    assert!(!config.conntrack.is_empty());
}

#[test]
fn scheduled_on_every_node_and_evicted_last() {
    let pod = pod();
    assert_eq!(pod.host_network, Some(true));
    // Its own cluster's DNS is a Service.
    assert_eq!(pod.dns_policy.as_deref(), Some("Default"));
    let class = pod.priority_class_name.as_deref();
    assert_eq!(class, Some("system-node-critical"));
    let all = &pod.tolerations.unwrap()[0];
    assert_eq!((all.operator.as_deref(), &all.key), (Some("Exists"), &None));
    assert_eq!(all.effect, None);
    assert_eq!(pod.node_selector.unwrap()["kubernetes.io/os"], "linux");
    let strategy = daemonset().update_strategy.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
    let unavailable = strategy.rolling_update.unwrap().max_unavailable.unwrap();
    assert_eq!(unavailable, IntOrString::String("10%".into()));
}

#[test]
fn probes_ask_what_is_served() {
    let agent = agent();
    let port = config(agent.clone()).listen.healthz.unwrap().port();
    for (probe, path) in [
        (agent.liveness_probe, "/livez"),
        (agent.readiness_probe, "/healthz"),
    ] {
        let get = probe.unwrap().http_get.unwrap();
        assert_eq!(get.path.as_deref(), Some(path));
        assert_eq!(get.port, IntOrString::Int(i32::from(port)));
        assert_eq!(get.host.as_deref(), Some("127.0.0.1"));
    }
}

#[test]
fn resources_are_asked_for_and_not_limited() {
    let resources = agent().resources.unwrap();
    let requests = resources.requests.unwrap();
    assert!(requests.contains_key("cpu") && requests.contains_key("memory"));
    assert_eq!(resources.limits, None);
    let env = agent().env.unwrap();
    let arenas = env.iter().find(|v| v.name == "MALLOC_ARENA_MAX").unwrap();
    assert_eq!(arenas.value.as_deref(), Some("1"));
}
