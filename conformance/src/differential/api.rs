// SPDX-License-Identifier: Apache-2.0
//! A real API server, with etcd, in a network namespace of its own. It has a wire to every node, by
//! which the proxies watch it and nothing else goes.

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::render::{LABEL, NAMESPACE};
use crate::interrupt;
use crate::netns::{Namespace, SERVICE_CIDRS};

/// Where the API server is, as the nodes see it.
const ADDRESS: &str = "198.18.0.1";
/// How long it may take to start.
const START: Duration = Duration::from_secs(300);
/// Requests under way at a time.
const AT_ONCE: usize = 16;

/// A child process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon(pub(crate) Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program in a namespace; what it writes goes to `LOGS/NAME.log`.
pub(crate) fn daemon(
    namespace: &Namespace,
    name: &str,
    program: &Path,
    arguments: &[String],
    logs: &Path,
) -> Result<Daemon> {
    let log = File::create(logs.join(format!("{name}.log")))?;
    let mut command: Command = namespace.command(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(Daemon(interrupt::spawn(&mut command)?))
}

/// A program of Kubernetes: in the directory that FERRULE_CLUSTER_BIN names, or on the path.
///
/// # Errors
/// If it is in neither.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::var_os("FERRULE_CLUSTER_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = own.into_iter().chain(std::env::split_paths(&path));
    places
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("no program {name}: set FERRULE_CLUSTER_BIN to the directory that has it")
        })
}

/// The running API server. It ends when this is dropped.
pub struct Api {
    client: kube::Client,
    runtime: Runtime,
    namespace: Namespace,
    kubeconfig: PathBuf,
    _daemons: Vec<Daemon>,
}

impl Api {
    /// Starts it. Files, logs too, go to the directory, which must be there.
    ///
    /// # Errors
    /// If a program is missing or does not come up.
    pub fn start(directory: &Path) -> Result<Self> {
        let namespace = Namespace::new("api")?;
        namespace.ip(&format!(
            "link set lo up\nlink add br0 type bridge mcast_snooping 0\nlink set br0 up\n\
             addr add {ADDRESS}/16 dev br0"
        ))?;
        let kubeconfig = keys(directory)?;
        let etcd = daemon(
            &namespace,
            "etcd",
            &program("etcd")?,
            &etcd_flags(directory),
            directory,
        )?;
        let flags = server_flags(directory);
        let server = daemon(
            &namespace,
            "kube-apiserver",
            &program("kube-apiserver")?,
            &flags,
            directory,
        )?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(client(&kubeconfig))?;
        let mut api = Self {
            client,
            runtime,
            namespace,
            kubeconfig,
            _daemons: vec![server, etcd],
        };
        api.wait(directory)?;
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        api.call(Method::POST, "/api/v1/namespaces", Some(&namespace))?;
        Ok(api)
    }

    /// For the proxies.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Gives a node a wire to the server.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn wire(&self, node: &Namespace, world: u8, number: u16) -> Result<()> {
        let name = format!("w{world}n{number}");
        self.namespace.ip(&format!(
            "link add {name} type veth peer name api0 netns {}\nlink set {name} master br0 up",
            node.path()
        ))?;
        node.ip(&format!(
            "link set api0 up\naddr add 198.18.{}.{number}/16 dev api0",
            world + 1
        ))
    }

    fn wait(&mut self, directory: &Path) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.call(Method::GET, "/api/v1/namespaces/default", None) {
                Ok(_) => return Ok(()),
                Err(e) if begun.elapsed() > START => {
                    let log = fs::read_to_string(directory.join("kube-apiserver.log"))
                        .unwrap_or_default();
                    let lines: Vec<_> = log.lines().collect();
                    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
                    bail!("the API server is not ready after {START:?}: {e:#}\n{tail}");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn run<T: Send>(&self, work: impl Future<Output = T> + Send) -> Result<T> {
        self.namespace.enter(|| Ok(self.runtime.block_on(work)))
    }

    /// One request.
    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.run(request(
            &self.client,
            method,
            path.to_owned(),
            body.cloned(),
        ))?
    }

    /// Creates objects. The answers are in their order; an error is what the server said.
    ///
    /// # Errors
    /// If nothing can be asked at all.
    pub fn create(&self, objects: &[Value]) -> Result<Vec<Result<()>>> {
        let all: Vec<_> = objects
            .iter()
            .map(|o| create(&self.client, o.clone()))
            .collect();
        self.run(stream::iter(all).buffered(AT_ONCE).collect())
    }

    /// Creates an object, or gives an existing one the labels and the specification of this one.
    ///
    /// # Errors
    /// What the server says.
    pub fn update(&self, object: &Value) -> Result<()> {
        let path = format!("{}/{}", collection(object)?, name(object));
        let mut patch = object.clone();
        if let Some(fields) = patch.as_object_mut() {
            fields.remove("status");
            if object["kind"] == "Node" {
                fields.remove("spec");
            }
        }
        match self.call(Method::PATCH, &path, Some(&patch)) {
            Ok(_) => Ok(()),
            Err(_) => self.create(std::slice::from_ref(object))?.remove(0),
        }
    }

    /// Removes the Services and EndpointSlices of a round.
    ///
    /// # Errors
    /// What the server says.
    pub fn remove_round(&self, number: u32) -> Result<()> {
        let selector = format!("labelSelector={}%3D{number}", LABEL.replace('/', "%2F"));
        for collection in [
            format!("/api/v1/namespaces/{NAMESPACE}/services"),
            format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"),
        ] {
            self.call(Method::DELETE, &format!("{collection}?{selector}"), None)?;
        }
        Ok(())
    }
}

async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

async fn request(
    client: &kube::Client,
    method: Method,
    path: String,
    body: Option<Value>,
) -> Result<Value> {
    let kind = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let bytes = body
        .map(|b| serde_json::to_vec(&b))
        .transpose()?
        .unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(bytes)?;
    Ok(client.request::<Value>(request).await?)
}

async fn create(client: &kube::Client, object: Value) -> Result<()> {
    let path = collection(&object)?;
    request(client, Method::POST, path.clone(), Some(object.clone())).await?;
    if object["kind"] == "Service" && object["status"].is_object() {
        let status = json!({ "status": object["status"] });
        request(
            client,
            Method::PATCH,
            format!("{path}/{}/status", name(&object)),
            Some(status),
        )
        .await?;
    }
    Ok(())
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn collection(object: &Value) -> Result<String> {
    Ok(match object["kind"].as_str() {
        Some("Node") => "/api/v1/nodes".to_owned(),
        Some("Service") => format!("/api/v1/namespaces/{NAMESPACE}/services"),
        Some("EndpointSlice") => {
            format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices")
        }
        other => bail!("no objects of kind {other:?} here"),
    })
}

/// A token, a key for service accounts, and the kubeconfig. The server makes its own certificate.
fn keys(directory: &Path) -> Result<PathBuf> {
    let status = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(directory.join("accounts.key"))
        .arg("2048")
        .stderr(Stdio::null())
        .status()
        .context("start openssl")?;
    if !status.success() {
        bail!("openssl genrsa: {status}");
    }
    fs::write(
        directory.join("tokens.csv"),
        "differential,admin,admin,\"system:masters\"\n",
    )?;
    let kubeconfig = directory.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{ "name": "it", "cluster": {
            "server": format!("https://{ADDRESS}:6443"), "insecure-skip-tls-verify": true } }],
        "users": [{ "name": "it", "user": { "token": "differential" } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
    });
    fs::write(&kubeconfig, text.to_string())?;
    Ok(kubeconfig)
}

fn etcd_flags(directory: &Path) -> Vec<String> {
    let data = directory.join("etcd");
    [
        "--data-dir",
        &data.to_string_lossy(),
        "--unsafe-no-fsync",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--quota-backend-bytes=4000000000",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn server_flags(directory: &Path) -> Vec<String> {
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--advertise-address={ADDRESS}"),
        format!("--service-cluster-ip-range={}", SERVICE_CIDRS.join(",")),
        "--authorization-mode=AlwaysAllow".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--cert-dir={}", file("certificates")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.key")),
        format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ),
    ]
}
