// SPDX-License-Identifier: Apache-2.0
//! The whole program, twice: the next process takes over the ports of the one before under load, and
//! no request fails.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::rig::{Client, Endpoint, eventually, own_address};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A process that is ended with the test.
pub(super) struct Process {
    child: Child,
    pub(super) health: SocketAddr,
}

impl Process {
    pub(super) fn start(folder: &Path, http: SocketAddr, flags: &[&str]) -> Self {
        let health = Endpoint::nobody();
        let child = Command::new(env!("CARGO_BIN_EXE_ferrule-ingress"))
            .arg(format!("--manifests={}", folder.display()))
            .args([
                "--hostname-override=n1",
                "--https-port=0",
                "--admin-socket=",
            ])
            .args(["--listen-addresses=127.0.0.1", "--healthz-host=127.0.0.1"])
            .arg(format!("--http-port={}", http.port()))
            .arg(format!("--healthz-port={}", health.port()))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, health };
        eventually("it is ready", || process.is_ready());
        process
    }

    /// What a kubelet asks before traffic comes.
    fn is_ready(&self) -> bool {
        let Ok(stream) = std::net::TcpStream::connect(self.health) else {
            return false;
        };
        drop(stream);
        let mut client = Client::connect(self.health);
        client.ask("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn manifests(folder: &Path, endpoint: SocketAddr) {
    let (address, port) = (endpoint.ip(), endpoint.port());
    let text = format!(
        r#"{{"kind": "List", "apiVersion": "v1", "items": [
        {{"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {{"name": "f"}},
          "spec": {{"controller": "ferrule.dev/ingress"}}}},
        {{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
          "metadata": {{"name": "web", "namespace": "default"}},
          "spec": {{"ingressClassName": "f", "rules": [{{"host": "a.example", "http": {{"paths": [
            {{"path": "/", "pathType": "Prefix",
              "backend": {{"service": {{"name": "web", "port": {{"number": 80}}}}}}}}]}}}}]}}}},
        {{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "web", "namespace": "default"}},
          "spec": {{"clusterIP": "10.96.0.1", "ports": [{{"port": 80}}]}}}},
        {{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
          "metadata": {{"name": "web-1", "namespace": "default",
                        "labels": {{"kubernetes.io/service-name": "web"}}}},
          "addressType": "IPv4", "ports": [{{"port": {port}}}],
          "endpoints": [{{"addresses": ["{address}"]}}]}}]}}"#
    );
    std::fs::write(folder.join("all.json"), text).unwrap();
}

/// Asks until the test is over; `keep` on one connection as long as it may.
fn ask(http: SocketAddr, keep: bool, done: &AtomicBool) -> (usize, Vec<String>) {
    let (mut served, mut failed) = (0, Vec::new());
    let mut client = Client::connect(http);
    while !done.load(Ordering::SeqCst) {
        let answer = client.ask(GET);
        match answer.status {
            200 => served += 1,
            // Only between two requests may a connection end without a word.
            0 if keep && client.ended_early() => {}
            status => failed.push(format!("{keep}: status {status} after {served}")),
        }
        if !keep || answer.status != 200 || answer.header("connection") == Some("close") {
            client = Client::connect(http);
        }
    }
    (served, failed)
}

#[test]
fn the_next_process_takes_over_and_no_request_fails() {
    let Some(own) = own_address() else { return };
    let echo = Endpoint::echo_at(own);
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), echo.address);
    let http = Endpoint::nobody();
    let mut old = Process::start(folder.path(), http, &[]);
    eventually("it serves", || std::net::TcpStream::connect(http).is_ok());
    let done = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let done = done.clone();
            std::thread::spawn(move || ask(http, n % 2 == 0, &done))
        })
        .collect();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        let new = Process::start(folder.path(), http, &[]);
        // Two processes serve by now.
        std::thread::sleep(Duration::from_millis(200));
        old.terminate();
        eventually("the old one ends", || {
            old.child.try_wait().unwrap().is_some()
        });
        assert!(old.child.wait().unwrap().success());
        old = new;
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    done.store(true, Ordering::SeqCst);
    let mut served = 0;
    for client in clients {
        let (count, failed) = client.join().unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        served += count;
    }
    assert!(served > 100, "{served}");
    println!("{served} requests over 3 hand-overs");
}
