// SPDX-License-Identifier: Apache-2.0
//! The sidecar, on manifests.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{ADDRESS, ENDPOINTS, HOST, PATHS, Routes, Setting, host};

/// Objects in one file; a change parses its file anew.
const OBJECTS: &str = "objects.json";

/// The program that is measured.
pub(super) fn program() -> String {
    std::env::var("FERRULE_INGRESS_BIN").unwrap_or_else(|_| "ferrule-ingress".to_owned())
}

pub(super) fn command(setting: &Setting) -> Result<Command> {
    let manifests = setting.folder.join("manifests");
    fs::create_dir(&manifests)?;
    write(&manifests, OBJECTS, &objects(setting)?)?;
    if let Routes::Ingresses(count) = setting.routes {
        for n in 0..count {
            edit(&manifests, n, &format!("web-{n}"))?;
        }
    }
    let number = setting.http.port() - 8_000;
    let mut command = Command::new(program());
    command
        .arg("--manifests")
        .arg(&manifests)
        .args(["--threads", "1", "--access-log", "off"])
        .args(["--listen-addresses", &ADDRESS.to_string()])
        .args(["--http-port", &setting.http.port().to_string()])
        .args(["--https-port", &setting.https.port().to_string()])
        .args(["--healthz-port", &(8_800 + number).to_string()])
        .args(["--healthz-host", &ADDRESS.to_string()])
        .arg("--admin-socket")
        .arg(setting.folder.join("admin"))
        .args(["--hostname-override", "node"])
        .args(["--default-ssl-certificate", "default/certificate"]);
    Ok(command)
}

/// Puts objects in place as a file of that name in a directory, at once.
///
/// # Errors
/// If the file cannot be written.
pub fn write(directory: &Path, name: &str, objects: &[Value]) -> Result<()> {
    let text = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    // What begins with a dot is no manifest.
    let hidden = directory.join(format!(".{name}"));
    fs::write(&hidden, text).with_context(|| hidden.display().to_string())?;
    Ok(fs::rename(&hidden, directory.join(name))?)
}

fn objects(setting: &Setting) -> Result<Vec<Value>> {
    let read = |path: &Path| fs::read_to_string(path).context("the certificate");
    let mut objects = vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": { "name": "ferrule" }, "spec": { "controller": "ferrule.dev/ingress" },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "certificate", "namespace": "default" },
            "stringData": {
                "tls.crt": read(&setting.certificate.chain)?,
                "tls.key": read(&setting.certificate.key)?,
            },
        }),
    ];
    match setting.routes {
        Routes::One => {
            objects.extend(service("web", ENDPOINTS[0]));
            objects.push(ingress("web", HOST, &[path("/", "web")]));
        }
        Routes::Many(hosts) => {
            objects.extend(service("web", ENDPOINTS[0]));
            let paths = (0..PATHS).map(|p| path(&format!("/p{p}"), "web"));
            let paths: Vec<Value> = paths.collect();
            objects.extend((0..hosts).map(|n| ingress(&format!("web-{n}"), &host(n), &paths)));
        }
        // Each in a file of its own.
        Routes::Ingresses(_) => {}
    }
    Ok(objects)
}

/// Puts Ingress number `n` and its Service in place, with this Service as its backend.
///
/// # Errors
/// If the file cannot be written.
pub fn edit(manifests: &Path, n: usize, backend: &str) -> Result<()> {
    let name = format!("web-{n}");
    let paths = [path("/", backend), path("/api", backend)];
    let mut objects = service(&name, ENDPOINTS[0]).to_vec();
    objects.push(ingress(&name, &host(n), &paths));
    write(manifests, &format!("{name}.json"), &objects)
}

/// A Service with one endpoint, at that port.
#[must_use]
pub fn service(name: &str, port: u16) -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }] },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-1"), "namespace": "default",
                "labels": { "kubernetes.io/service-name": name },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": [ADDRESS.to_string()], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        }),
    ]
}

fn path(path: &str, service: &str) -> Value {
    json!({
        "path": path, "pathType": "Prefix",
        "backend": { "service": { "name": service, "port": { "number": 80 } } },
    })
}

fn ingress(name: &str, host: &str, paths: &[Value]) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": name, "namespace": "default",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "ingressClassName": "ferrule",
            "rules": [{ "host": host, "http": { "paths": paths } }],
        },
    })
}
