// SPDX-License-Identifier: Apache-2.0
//! A program of ours in a network namespace, with as many capabilities as it is given.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ferrule::backend::testing;
use tempfile::TempDir;

/// What no step may take longer than, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// The own Node, a Service with one endpoint on this host, and an Ingress to it.
const OBJECTS: &str = "\
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.0.2.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  ports: [{port: 80, nodePort: 30080, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: default}
spec: {clusterIP: 10.96.0.11, clusterIPs: [10.96.0.11], ports: [{port: 53, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: '', port: 8080, protocol: TCP}]
endpoints: [{addresses: [192.0.2.10], conditions: {ready: true}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default, annotations: {kubernetes.io/ingress.class: ferrule}}
spec:
  rules:
  - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

/// Who runs a program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum As {
    /// Root with all that this test may do.
    Root,
    /// Root in a container that adds these capabilities to none, as `setpriv` names them.
    RootWith(&'static [&'static str]),
    /// A user without rights, given these as systemd's `AmbientCapabilities` does.
    NobodyWith(&'static [&'static str]),
}

/// A running program. It is killed when it is dropped.
pub(crate) struct Program {
    pub(crate) dir: TempDir,
    pub(crate) child: Child,
}

impl Program {
    /// The agent, on a directory of manifests.
    pub(crate) fn agent(who: As, arguments: &[&str]) -> Self {
        let mut own = vec![
            "--hostname-override=n1",
            "--nodeport-addresses=192.0.2.0/24",
        ];
        own.extend(arguments);
        Self::start(env!("CARGO_BIN_EXE_ferrule"), who, "--state-file=", &own)
    }

    /// The sidecar, likewise.
    pub(crate) fn sidecar(who: As, arguments: &[&str]) -> Self {
        let mut own = vec!["--hostname-override=n1", "--threads=2"];
        own.extend(arguments);
        Self::start(
            env!("CARGO_BIN_EXE_ferrule-ingress"),
            who,
            "--healthz-port=10254",
            &own,
        )
    }

    fn start(program: &str, who: As, first: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Another user has to get in, and to make a socket.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let manifests = dir.path().join("objects");
        fs::create_dir(&manifests).unwrap();
        fs::write(manifests.join("all.yaml"), OBJECTS).unwrap();
        let mut command = as_whom(who, program);
        command.arg(first).args(arguments);
        if !arguments.iter().any(|a| a.starts_with("--master")) {
            command.arg("--manifests").arg(&manifests);
        }
        let child = command
            .arg("--admin-socket")
            .arg(dir.path().join("run/socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/socket")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "{what}: ended:\n{}", self.log());
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: not in time:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not end:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn as_whom(who: As, program: &str) -> Command {
    let signed = |names: &[&str]| {
        let names = names.iter().map(|name| format!(",+{name}"));
        format!("-all{}", names.collect::<String>())
    };
    let mut command = Command::new("setpriv");
    match who {
        As::Root => return Command::new(program),
        As::RootWith(names) => command
            .arg("--inh-caps=-all")
            .arg(format!("--bounding-set={}", signed(names))),
        As::NobodyWith(names) => command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(format!("--inh-caps={}", signed(names)))
            .arg(format!("--ambient-caps={}", signed(names)))
            .arg(format!("--bounding-set={}", signed(names))),
    };
    command.arg("--").arg(program);
    command
}

/// Runs a program to its end; its output.
pub(crate) fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The status of an answer.
pub(crate) fn status(address: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: a.example\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

/// In a namespace of its own, with loopback and the node's address.
pub(crate) fn in_namespace(body: impl FnOnce() + Send + 'static) {
    testing::in_namespace(|| {
        run("ip", ["link", "set", "lo", "up"]);
        run("ip", ["address", "add", "192.0.2.10/24", "dev", "lo"]);
        body();
    });
}
