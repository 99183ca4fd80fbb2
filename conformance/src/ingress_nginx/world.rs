// SPDX-License-Identifier: Apache-2.0
//! Both proxies with the same settings, each on an address of its own, and the cases that they
//! serve.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::case::{Case, folder};
use super::certificates::Certificates;
use super::echo::{Behaviour, PLAIN};
use super::nginx::{Setup, process};
use super::objects::{CLASS, Places, objects};
use crate::netns::Namespace;

/// The namespace of settings.
const OWN: &str = "sys";
/// Longer does no proxy take to start, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The ConfigMap.
    pub config: BTreeMap<String, String>,
    /// ConfigMaps that it names as `sys/NAME`.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
    /// What the default backend answers; none: there is none.
    pub default: Option<Behaviour>,
}

/// The default backend of the world with this number.
#[must_use]
pub fn default_backend(number: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 95, 0, number).into(), PLAIN)
}

/// Two proxies that run.
#[derive(Debug)]
pub struct World {
    /// Where nginx listens.
    pub nginx: IpAddr,
    /// Where ferrule listens.
    pub ferrule: IpAddr,
    processes: Vec<Child>,
}

/// Settings by name: ingress-nginx/harness/worlds.yaml.
///
/// # Errors
/// If the file cannot be read.
pub fn settings() -> Result<BTreeMap<String, Settings>> {
    let text = fs::read_to_string(folder().join("harness/worlds.yaml"))?;
    serde_saphyr::from_str(&text).context("worlds.yaml")
}

/// What all worlds have.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Where all of it is.
    pub namespace: &'a Namespace,
    /// Where endpoints are.
    pub places: &'a Places,
    /// Certificates.
    pub certificates: &'a Certificates,
    /// Where files go.
    pub folder: &'a Path,
    /// The sidecar, if it takes part.
    pub ferrule: Option<&'a Path>,
}

impl Drop for World {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl World {
    /// Starts both.
    ///
    /// # Errors
    /// If one does not come up: what it says.
    pub fn start(
        ground: &Ground<'_>,
        (name, number): (&str, u8),
        settings: &Settings,
        cases: &[&Case],
    ) -> Result<Self> {
        let address = |last| IpAddr::from(Ipv4Addr::new(10, 90, number, last));
        let folder = ground.folder.join(name);
        let setup = Setup {
            cases: cases.to_vec(),
            places: ground.places,
            certificates: ground.certificates,
            config: &settings.config,
            maps: &settings.maps,
            address: address(1),
            folder: folder.join("nginx"),
            default: settings.default.as_ref().map(|_| default_backend(number)),
        };
        let mut world = Self {
            nginx: address(1),
            ferrule: address(2),
            processes: vec![process::start(ground.namespace, &setup)?],
        };
        if let Some(program) = ground.ferrule {
            let manifests = folder.join("manifests");
            fs::create_dir_all(&manifests)?;
            let default = setup.default;
            write(&manifests, settings, default, cases, ground)?;
            let mut command = ferrule(ground, program, &folder, world.ferrule)?;
            if default.is_some() {
                command.args(["--default-backend-service", &format!("{OWN}/default")]);
            }
            let child = command.spawn();
            let child = child.with_context(|| program.display().to_string())?;
            world.processes.push(child);
        }
        world.wait(ground, &folder)?;
        Ok(world)
    }

    fn wait(&mut self, ground: &Ground<'_>, folder: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut ready = vec![
            SocketAddr::new(self.nginx, 80),
            SocketAddr::new(self.nginx, 443),
        ];
        if ground.ferrule.is_some() {
            ready.extend([10_254, 80, 443].map(|port| SocketAddr::new(self.ferrule, port)));
        }
        while !ready.is_empty() {
            for process in &mut self.processes {
                if let Some(status) = process.try_wait()? {
                    bail!("a proxy has ended, {status}: see {}", folder.display());
                }
            }
            if Instant::now() > deadline {
                bail!("nobody answers at {ready:?}: see {}", folder.display());
            }
            ready.retain(|address| !answers(ground.namespace, *address));
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The port for health must be content, too.
fn answers(namespace: &Namespace, address: SocketAddr) -> bool {
    let asked = namespace.enter(|| {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(address)?;
        if address.port() != 10_254 {
            return Ok(true);
        }
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.starts_with("HTTP/1.1 200"))
    });
    asked.unwrap_or(false)
}

fn ferrule(ground: &Ground<'_>, program: &Path, folder: &Path, address: IpAddr) -> Result<Command> {
    let log = fs::File::create(folder.join("ferrule.log"))?;
    let mut command = ground.namespace.command(program);
    command
        .arg("--manifests")
        .arg(folder.join("manifests"))
        .args(["--controller-class", "k8s.io/ingress-nginx"])
        .args(["--ingress-class", CLASS, "--threads", "1"])
        .args(["--listen-addresses", &address.to_string()])
        .args(["--healthz-host", &address.to_string()])
        .args(["--hostname-override", "node", "--admin-socket="])
        .args(["--configmap", &format!("{OWN}/settings")])
        .args(["--default-ssl-certificate", &format!("{OWN}/default")])
        .stdout(Stdio::null())
        .stderr(log);
    Ok(command)
}

fn write(
    manifests: &Path,
    settings: &Settings,
    default_backend: Option<SocketAddr>,
    cases: &[&Case],
    ground: &Ground<'_>,
) -> Result<()> {
    let map = |name: &str, data: &BTreeMap<String, String>| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": OWN }, "data": data,
        })
    };
    let default = &ground.certificates.default;
    let mut all = vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": { "name": CLASS }, "spec": { "controller": "k8s.io/ingress-nginx" },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "default", "namespace": OWN },
            "stringData": { "tls.crt": default.certificate, "tls.key": default.key },
        }),
        map("settings", &settings.config),
    ];
    all.extend(settings.maps.iter().map(|(name, data)| map(name, data)));
    if let Some(address) = default_backend {
        all.extend(default_service(address));
    }
    for case in cases {
        let made = objects(case, ground.places, ground.certificates);
        all.extend(made.with_context(|| case.name.clone())?);
    }
    let list: Value = json!({ "apiVersion": "v1", "kind": "List", "items": all });
    Ok(fs::write(manifests.join("objects.json"), list.to_string())?)
}

fn default_service(address: SocketAddr) -> [Value; 2] {
    let (ip, port) = (address.ip(), address.port());
    let ports = json!([{ "name": "http", "port": port, "targetPort": port, "protocol": "TCP" }]);
    let labels = json!({ "kubernetes.io/service-name": "default" });
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "default", "namespace": OWN },
            "spec": { "clusterIP": "10.94.255.1", "ports": ports },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "default-1", "namespace": OWN, "labels": labels },
            "addressType": "IPv4", "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [ip], "conditions": { "ready": true } }],
        }),
    ]
}
