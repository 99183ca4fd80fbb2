// SPDX-License-Identifier: Apache-2.0
//! The kustomizations name what is there, and can be built.

use std::io;
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
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
