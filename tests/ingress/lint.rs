// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug ingress --lint` as it is called, with its exit status.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::hand_over::{Process, manifests};
use super::rig::{Endpoint, eventually, own_address};

const NOTED: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: noted\n\
    \x20 annotations: {nginx.ingress.kubernetes.io/enable-modsecurity: 'true'}\n\
    spec: {ingressClassName: f, rules: [{host: noted.example}]}\n";

/// The exit status, and what is printed on standard output and standard error.
fn lint(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrule"))
        .args(["debug", "ingress", "--lint"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn of_directory(folder: &Path) -> (Option<i32>, String) {
    let (status, text, wrong) = lint(&["--manifests", folder.to_str().unwrap()]);
    assert_eq!(wrong, "");
    (status, text)
}

#[test]
fn a_directory_needs_no_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), "192.0.2.7:80".parse().unwrap());
    let (status, text) = of_directory(folder.path());
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("1 Ingresses, 0 findings"), "{text}");
    fs::write(folder.path().join("noted.yaml"), NOTED).unwrap();
    let (status, text) = of_directory(folder.path());
    assert_eq!(status, Some(1), "{text}");
    let line = text
        .lines()
        .find(|line| line.contains("Ingress default/noted"));
    let line = line.expect("a line").split_whitespace().collect::<Vec<_>>();
    assert_eq!(line[2..4], ["enable-modsecurity", "refused"]);
}

#[test]
fn errors_have_a_status_of_their_own() {
    let (status, _, wrong) = lint(&["--admin-socket=/nowhere/at/all"]);
    assert_eq!(status, Some(2), "{wrong}");
    assert!(wrong.contains("--manifests"), "{wrong}");
    assert_eq!(lint(&["--manifests=/nowhere/at/all"]).0, Some(2));
}

#[test]
fn the_sidecar_tells_the_same() {
    let Some(own) = own_address() else { return };
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), Endpoint::echo_at(own).address);
    fs::write(folder.path().join("noted.yaml"), NOTED).unwrap();
    let socket = folder.path().join("socket");
    let socket = format!("--admin-socket={}", socket.display());
    let process = Process::start(folder.path(), Endpoint::nobody(), &[&socket]);
    let told = || lint(&[&socket, "-o=json"]);
    eventually("it answers", || told().0 == Some(1));
    let found: serde_json::Value = serde_json::from_str(&told().1).unwrap();
    assert_eq!(found["ingresses"], 2);
    let finding = &found["findings"][0];
    assert_eq!(finding["object"], "Ingress default/noted");
    assert_eq!(finding["kind"], "refused");
    assert!(
        found["notChecked"][0]
            .as_str()
            .unwrap()
            .contains("NetworkPolicies")
    );
    drop(process);
}
