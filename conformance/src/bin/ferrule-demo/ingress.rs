// SPDX-License-Identifier: Apache-2.0
//! The Ingress sidecar on node-1: a real client outside asks its port 80, web servers in pods answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrule::model::IpFamily;
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::netns::{self, Place};
use ferrule_conformance::object::{node_name, node_of, pod_address};
use ferrule_conformance::{agent, interrupt};

use crate::step;

const PODS: [&str; 3] = ["1b", "2b", "3b"];
const PORT: u16 = 8_000;
const REQUESTS: usize = 300;
const LIMIT: Duration = Duration::from_secs(20);

/// Killed when it is dropped.
struct Sidecar(Child);

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn show(cluster: &Cluster) -> Result<()> {
    step(
        5,
        "Ingress: ferrule-ingress on node-1, web servers in 1b, 2b and 3b:",
    );
    for pod in PODS {
        serve(cluster, pod)?;
    }
    write(cluster, "/")?;
    let begun = Instant::now();
    let _sidecar = start(cluster)?;
    let mut client = wait(cluster, "/", 200)?;
    println!(
        "   started; http://site.example/ is answered after {:.0} ms",
        ms(begun)
    );
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let (status, body) = client.get("site.example", "/")?;
        if status != 200 {
            bail!("status {status}");
        }
        *seen.entry(body).or_default() += 1;
    }
    let seen: Vec<String> = seen
        .iter()
        .map(|(pod, count)| format!("{pod} {count}"))
        .collect();
    println!(
        "   {REQUESTS} requests on one connection from outside: {}",
        seen.join(", ")
    );
    let (status, _) = client.get("other.example", "/")?;
    println!("   http://other.example/ is nobody's: status {status}");
    write(cluster, "/shop")?;
    let begun = Instant::now();
    while client.get("site.example", "/")?.0 != 404 {
        if begun.elapsed() > LIMIT {
            bail!("the Ingress does not change");
        }
    }
    println!(
        "   its path becomes /shop: on the same connection {:.1} ms later",
        ms(begun)
    );
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// A web server that says which pod it is in.
fn serve(cluster: &Cluster, pod: &'static str) -> Result<()> {
    let at = SocketAddr::new(pod_address(IpFamily::V4, pod), PORT);
    let namespace = cluster.topology.namespace(Place::Pod(pod))?;
    let listener = namespace.enter(|| TcpListener::bind(at).context("a web server"))?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{pod}",
        pod.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let lines = stream.try_clone().map(|s| BufReader::new(s).lines());
                for line in lines.into_iter().flatten().map_while(Result::ok) {
                    if line.is_empty() && (&stream).write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}

/// Writes class, Ingress, Service and endpoints, in one step.
fn write(cluster: &Cluster, path: &str) -> Result<()> {
    let mut endpoints = String::new();
    for pod in PODS {
        let (address, node) = (pod_address(IpFamily::V4, pod), node_name(node_of(pod)));
        endpoints += &format!("- {{addresses: [{address}], nodeName: {node}}}\n");
    }
    let text = format!(
        "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: ferrule}}
spec: {{controller: ferrule.dev/ingress}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: site, namespace: demo}}
spec:
  ingressClassName: ferrule
  rules:
  - host: site.example
    http:
      paths:
      - path: {path}
        pathType: Prefix
        backend: {{service: {{name: site, port: {{name: http}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: site, namespace: demo}}
spec:
  clusterIP: 10.96.0.3
  ports:
  - {{name: http, port: 80, targetPort: {PORT}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: site-4
  namespace: demo
  labels: {{kubernetes.io/service-name: site}}
addressType: IPv4
ports:
- {{name: http, port: {PORT}}}
endpoints:
{endpoints}"
    );
    let (new, file) = (
        cluster.directory().join("new"),
        cluster.manifests().join("site.yaml"),
    );
    std::fs::write(&new, text)?;
    std::fs::rename(&new, &file).with_context(|| file.display().to_string())
}

fn start(cluster: &Cluster) -> Result<Sidecar> {
    let program = agent::binary()?.with_file_name("ferrule-ingress");
    let log = File::create(cluster.directory().join("ingress.log"))?;
    let mut command: Command = cluster.topology.namespace(Place::Node(1))?.command(program);
    command
        .arg("--manifests")
        .arg(cluster.manifests())
        .args(["--hostname-override", &node_name(1)])
        .args(["--https-port=0", "--healthz-port=0", "--admin-socket="])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(Sidecar(interrupt::spawn(&mut command)?))
}

/// A connection from outside to node-1.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(cluster: &Cluster) -> Result<Self> {
        let to = SocketAddr::new(netns::node_address(IpFamily::V4, 1), 80);
        let outside = cluster.topology.namespace(Place::Outside)?;
        let stream = outside.enter(|| Ok(TcpStream::connect_timeout(&to, LIMIT)?))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Status and body.
    fn get(&mut self, host: &str, path: &str) -> Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                bail!("the connection was closed");
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                status = rest.get(..3).unwrap_or_default().parse()?;
            } else if let Some(rest) = lower.strip_prefix("content-length:") {
                length = rest.trim().parse()?;
            } else if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Asks until the answer is this one.
fn wait(cluster: &Cluster, path: &str, status: u16) -> Result<Client> {
    let begun = Instant::now();
    loop {
        let mut client = Client::connect(cluster);
        let answer = client
            .as_mut()
            .ok()
            .map(|client| client.get("site.example", path));
        match (client, answer) {
            (Ok(client), Some(Ok((found, _)))) if found == status => return Ok(client),
            (client, answer) if begun.elapsed() > LIMIT => {
                let log = std::fs::read_to_string(cluster.directory().join("ingress.log"));
                bail!("{:?} {answer:?}\n{}", client.err(), log.unwrap_or_default());
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
