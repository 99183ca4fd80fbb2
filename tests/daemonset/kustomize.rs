// SPDX-License-Identifier: Apache-2.0
//! The kustomizations name what is there, and can be built.

use std::io;
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::files::{MANIFESTS, documents, manifests, names, only, path, text};

fn resources(kustomization: &str) -> Vec<String> {
    let all = documents(&text(kustomization));
    let list = all[0]["resources"].as_array().unwrap().clone();
    list.iter()
        .map(|r| r.as_str().unwrap().to_owned())
        .collect()
}

/// What kubectl builds, or nothing where there is no kubectl.
fn built(directory: &str) -> Option<Vec<Value>> {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(path(directory))
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("SKIP: no kubectl to build {directory} with");
            return None;
        }
        output => output.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{directory}: {errors}");
    Some(documents(&String::from_utf8(output.stdout).unwrap()))
}

#[test]
fn the_base_lists_every_manifest() {
    let mut listed = resources("daemonset/base/kustomization.yaml");
    listed.sort();
    let there: Vec<String> = names(MANIFESTS)
        .into_iter()
        .map(|name| format!("manifests/{name}"))
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn directories_that_are_named_exist() {
    for directory in ["daemonset", "daemonset/overlays/example"] {
        for resource in resources(&format!("{directory}/kustomization.yaml")) {
            let target = path(directory).join(&resource).join("kustomization.yaml");
            assert!(target.is_file(), "{directory}: {resource}");
        }
    }
}

#[test]
fn what_is_built_is_what_is_written() {
    let Some(built) = built("daemonset") else {
        return;
    };
    let sorted = |objects: &[Value]| {
        let mut all: Vec<String> = objects.iter().map(Value::to_string).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&built), sorted(&manifests()));
}

#[test]
fn the_example_reaches_every_container_and_the_server() {
    let Some(built) = built("daemonset/overlays/example") else {
        return;
    };
    let daemonset: DaemonSet = only(&built, "DaemonSet");
    let pod = daemonset.spec.unwrap().template.spec.unwrap();
    let init = pod.init_containers.unwrap();
    for container in init.iter().chain(&pod.containers) {
        let image = container.image.as_deref();
        assert_eq!(image, Some("registry.example/ferrule:0.1.0"));
    }
    let env = pod.containers[0].env.clone().unwrap();
    let names: Vec<&str> = env.iter().map(|v| v.name.as_str()).collect();
    let hosts = names.iter().filter(|n| **n == "KUBERNETES_SERVICE_HOST");
    assert_eq!(hosts.count(), 1, "{names:?}");
    assert!(names.contains(&"NODE_NAME"), "{names:?}");
}

#[test]
fn the_ingress_component_is_whole() {
    let directory = "daemonset/ingress";
    let mut listed = resources(&format!("{directory}/kustomization.yaml"));
    listed.push("kustomization.yaml".into());
    listed.sort();
    assert_eq!(listed, names(directory));
    let all: Vec<Value> = listed
        .iter()
        .flat_map(|name| documents(&text(&format!("{directory}/{name}"))))
        .collect();
    let daemonset: DaemonSet = only(&all, "DaemonSet");
    let pod = daemonset.spec.unwrap().template.spec.unwrap();
    let account = pod.service_account_name.as_deref();
    assert_eq!(account, Some("ferrule-ingress"));
    assert_eq!(pod.containers.len(), 1);
    let context = pod.containers[0].security_context.clone().unwrap();
    assert_eq!(context.privileged, None);
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    let capabilities = context.capabilities.unwrap();
    assert_eq!(capabilities.add.unwrap(), ["NET_BIND_SERVICE"]);
    assert_eq!(capabilities.drop.unwrap(), ["ALL"]);
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let command = pod.containers[0].command.clone().unwrap();
    let cli = ferrule::cli::IngressCli::parse_from_args(command).unwrap();
    let grace = i64::try_from(cli.shutdown_grace_period.unwrap_or(30)).unwrap();
    assert!(pod.termination_grace_period_seconds.unwrap() > grace);
    let probe = pod.containers[0].readiness_probe.clone().unwrap();
    let port = probe.http_get.unwrap().port;
    assert_eq!(port, IntOrString::Int(i32::from(cli.healthz_port)));
    let class = all.iter().find(|o| o["kind"] == "IngressClass").unwrap();
    let controller = class["spec"]["controller"].as_str().unwrap();
    assert_eq!(cli.controller_class, [controller]);
}

#[test]
fn the_ingress_role_allows_what_is_watched_and_nothing_else() {
    let all = documents(&text("daemonset/ingress/role.yaml"));
    let role: ClusterRole = only(&all, "ClusterRole");
    let mut allowed: Vec<String> = Vec::new();
    for rule in role.rules.unwrap() {
        let group = rule.api_groups.unwrap().join(",");
        for resource in rule.resources.unwrap() {
            allowed.push(format!("{group}/{resource} {}", rule.verbs.join(",")));
        }
    }
    allowed.sort();
    let expected = [
        "/configmaps list,watch",
        "/nodes list,watch",
        "/secrets list,watch",
        "/services list,watch",
        "discovery.k8s.io/endpointslices list,watch",
        "events.k8s.io/events create,patch",
        "networking.k8s.io/ingressclasses list,watch",
        "networking.k8s.io/ingresses list,watch",
        "networking.k8s.io/ingresses/status patch",
    ];
    assert_eq!(allowed, expected);
}
