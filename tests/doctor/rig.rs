// SPDX-License-Identifier: Apache-2.0
//! A healthy node: a bridge with an endpoint behind it, a way outside, an agent that serves
//! manifests, and a stub of an API server with the same objects.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ferrule::backend::testing::{in_namespace, skip};
use ferrule::debug::doctor::Kind;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ferrule");
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that is broken.
pub(crate) struct Fault {
    /// What is broken.
    pub(crate) name: &'static str,
    /// What is to be found.
    pub(crate) kind: Kind,
    /// Words of the finding that name the cause.
    pub(crate) cause: &'static [&'static str],
    /// Breaks it.
    pub(crate) seed: fn(&mut Node),
}

/// The healthy node. It goes with the namespace and this value.
pub(crate) struct Node {
    /// Where everything is.
    pub(crate) directory: TempDir,
    /// The agent, if it runs.
    pub(crate) agent: Option<Child>,
    /// Arguments of `debug doctor` besides the admin socket.
    pub(crate) arguments: Vec<String>,
    /// Objects by the path of the API server.
    pub(crate) objects: Arc<Mutex<Served>>,
    /// What must stay open as long as the node is there.
    pub(crate) kept: Vec<Box<dyn std::any::Any>>,
}

/// What the stub of an API server answers.
pub(crate) struct Served {
    /// Bodies by path; without the query.
    pub(crate) bodies: BTreeMap<String, Value>,
    /// Status by path, where it is not 200.
    pub(crate) refused: BTreeMap<String, u16>,
    /// How far its clock is ahead, seconds.
    pub(crate) ahead: i64,
}

/// Runs a program, which must succeed.
pub(crate) fn run(command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|e| panic!("{command}: {e}"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {text}");
}

/// Writes a setting of this thread's network namespace.
pub(crate) fn set(path: &str, value: &str) {
    let path = Path::new("/proc/sys").join(path);
    fs::write(&path, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Whether the programs are there that the tests need.
fn tools() -> bool {
    ["ip", "nft"]
        .iter()
        .all(|tool| Command::new(tool).arg("-V").output().is_ok())
}

/// Seeds each fault on a node of its own and looks for the cause.
pub(crate) fn check(faults: &'static [Fault]) {
    if !tools() {
        return skip("ip or nft is not installed");
    }
    for fault in faults {
        in_namespace(|| {
            let mut node = Node::healthy();
            (fault.seed)(&mut node);
            node.expect(fault);
        });
    }
}

impl Node {
    /// Makes it, and waits until the agent serves.
    pub(crate) fn healthy() -> Self {
        network();
        let directory = tempfile::tempdir().expect("a directory");
        let served = Served {
            bodies: objects(),
            refused: BTreeMap::new(),
            ahead: 0,
        };
        let mut node = Node {
            directory,
            agent: None,
            arguments: Vec::new(),
            objects: Arc::new(Mutex::new(served)),
            kept: Vec::new(),
        };
        node.write_manifests();
        node.start_agent(&[]);
        node
    }

    /// Writes what the API server has as the manifests of the agent.
    pub(crate) fn write_manifests(&self) {
        let served = self.objects.lock().expect("objects");
        let lists = served
            .bodies
            .iter()
            .filter(|(path, _)| path.starts_with("/api") && !path.contains("/namespaces/"));
        for (number, (path, body)) in lists.enumerate() {
            let kind = match path.rsplit('/').next() {
                Some("services") => "Service",
                Some("endpointslices") => "EndpointSlice",
                Some("pods") => "Pod",
                _ => "Node",
            };
            let items = match body.get("items") {
                Some(Value::Array(items)) => items.clone(),
                _ => vec![body.clone()],
            };
            let mut list = json!({"apiVersion": "v1", "kind": "List", "items": []});
            for mut item in items {
                item["kind"] = kind.into();
                item["apiVersion"] = match kind {
                    "EndpointSlice" => "discovery.k8s.io/v1".into(),
                    _ => "v1".into(),
                };
                list["items"].as_array_mut().expect("items").push(item);
            }
            let file = self.directory.path().join(format!("{number}.json"));
            fs::write(file, list.to_string()).expect("written");
        }
    }

    /// Where the agent listens.
    pub(crate) fn socket(&self) -> String {
        self.directory
            .path()
            .join("admin/ferrule.sock")
            .display()
            .to_string()
    }

    /// Starts the agent on the manifests, and waits until it has committed.
    pub(crate) fn start_agent(&mut self, more: &[&str]) {
        let manifests = self.directory.path().display().to_string();
        self.start_agent_on(&["--manifests", &manifests], more);
    }

    /// Boots while no API server answers: with a state file of three hours ago, and no rules.
    pub(crate) fn boot_without_server(&mut self) {
        self.kill_agent();
        run("nft flush ruleset");
        let path = self.directory.path().join("state.jsonl");
        let mut file = fs::File::create(&path).expect("a state file");
        let header = json!({"ferrule": 1, "node": "node-1"});
        let served = self.objects.lock().expect("objects");
        let web = &served.bodies["/api/v1/services"]["items"][0];
        let entry = json!({"kind": "Service", "name": "default/web", "object": web});
        write!(file, "{header}\n{entry}\n").expect("written");
        drop(served);
        let saved = jiff::Timestamp::now() - Duration::from_secs(3 * 3600);
        file.set_modified(saved.into()).expect("the time of a file");
        let path = path.display().to_string();
        self.start_agent_on(
            &["--master", "http://127.0.0.1:1"],
            &["--state-file", &path],
        );
    }

    fn start_agent_on(&mut self, source: &[&str], more: &[&str]) {
        let child = Command::new(PROGRAM)
            .args([
                "--hostname-override",
                "node-1",
                "--cluster-cidr",
                "10.244.0.0/16",
            ])
            .args(["--healthz-bind-address", "127.0.0.1:10256"])
            .args(source)
            .args(["--admin-socket", &self.socket()])
            // What is broken is to stay broken.
            .arg("--protect-rules=off")
            .args(more)
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.directory.path().join("agent.log")).expect("a log"))
            .spawn();
        self.agent = Some(child.expect("the agent"));
        let log = self.directory.path().join("agent.log");
        eventually("the agent is in step", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("in step"))
        });
    }

    /// Ends the agent, without a chance for it to tidy up.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    /// Takes objects from the stub of an API server, which starts to answer.
    pub(crate) fn use_server(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let objects = self.objects.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &objects);
            }
        });
        self.arguments = ["--master", &url, "--hostname-override", "node-1"]
            .map(str::to_owned)
            .to_vec();
    }

    /// Changes an object of a list.
    pub(crate) fn change(&mut self, path: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut served = self.objects.lock().expect("objects");
        let items = served.bodies.get_mut(path).expect(path)["items"].as_array_mut();
        let found = items
            .expect("items")
            .iter_mut()
            .find(|i| i["metadata"]["name"] == name);
        change(found.expect(name));
    }

    /// Runs `debug doctor`.
    pub(crate) fn doctor(&self, more: &[&str]) -> Output {
        let output = Command::new(PROGRAM)
            .args(["debug", "doctor", "--admin-socket", &self.socket()])
            .args(&self.arguments)
            .args(more)
            .output();
        output.expect("debug doctor")
    }

    /// Waits until the cause is in the output, and nothing that has no connection with it.
    fn expect(&self, fault: &Fault) {
        let (mut text, mut code) = (String::new(), None);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let output = self.doctor(&[]);
            text = String::from_utf8(output.stdout).expect("text");
            code = output.status.code();
            let kind = format!("[{}]", fault.kind.id());
            let found = text.split("\n").collect::<Vec<_>>();
            let at = found.iter().position(|line| line.ends_with(&kind));
            let finding = at.map(|at| found[at..(at + 3).min(found.len())].join("\n"));
            let named = |f: &String| fault.cause.iter().all(|word| f.contains(word));
            if finding.as_ref().is_some_and(named) {
                let bad = fault.kind.severity() != ferrule::debug::doctor::Severity::Note;
                assert_eq!(code, Some(i32::from(bad)), "{}: {text}", fault.name);
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "{}: no finding {} with {:?} (status {code:?}):\n{text}",
            fault.name,
            fault.kind.id(),
            fault.cause
        );
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_agent();
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A way outside, and a bridge with two members.
fn network() {
    let batch = "\
        link set lo up\n\
        link add eth0 type veth peer name out0\n\
        address add 192.0.2.10/24 dev eth0\n\
        link set out0 up\n\
        link set eth0 up\n\
        link add cni0 type bridge\n\
        link add pod1 type veth peer name in1\n\
        link set pod1 master cni0\n\
        link set pod1 up\n\
        link set in1 up\n\
        address add 10.244.1.1/24 dev cni0\n\
        link set cni0 up\n\
        route add default via 192.0.2.1\n\
        route add 10.244.2.0/24 via 192.0.2.12\n";
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip");
    let mut input = ip.stdin.take().expect("its input");
    input.write_all(batch.as_bytes()).expect("written");
    drop(input);
    assert!(ip.wait().expect("ip").success());
    set("net/ipv4/ip_forward", "1");
}

/// The objects of a healthy cluster.
fn objects() -> BTreeMap<String, Value> {
    let ready = json!({"ready": true, "serving": true, "terminating": false});
    let service = |name: &str, address: &str, spec: Value| {
        let mut service = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
                "ipFamilies": ["IPv4"], "selector": {"app": name}, "ports": [
                {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}]},
            "status": {"loadBalancer": {}}
        });
        for (key, value) in spec.as_object().expect("fields") {
            service["spec"][key] = value.clone();
        }
        service
    };
    let slice = |name: &str, endpoints: &[(&str, &str)]| {
        let endpoint = |(address, node): &(&str, &str)| json!({"addresses": [address], "conditions": ready, "nodeName": node});
        json!({
            "metadata": {"name": format!("{name}-1"), "namespace": "default",
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]
        })
    };
    let node_port = json!({"type": "NodePort", "ports": [
        {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http", "nodePort": 30080}]});
    let balanced = json!({"type": "LoadBalancer", "ports": [
        {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http", "nodePort": 30081}]});
    let mut balancer = service("shop", "10.96.0.30", balanced);
    balancer["status"]["loadBalancer"] = json!({"ingress": [{"ip": "198.51.100.30"}]});
    let pod = |app: &str, name: &str| {
        json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        })
    };
    let two = [("10.244.1.5", "node-1"), ("10.244.2.5", "node-2")];
    let list = |items: Vec<Value>| json!({"items": items});
    [
        (
            "/api/v1/services",
            list(vec![
                service("web", "10.96.0.10", json!({})),
                service("site", "10.96.0.20", node_port),
                balancer,
            ]),
        ),
        (
            "/apis/discovery.k8s.io/v1/endpointslices",
            list(
                ["web", "site", "shop"]
                    .iter()
                    .map(|name| slice(name, &two))
                    .collect(),
            ),
        ),
        (
            "/api/v1/namespaces/default/pods",
            list(vec![pod("web", "web-1"), pod("web", "web-2")]),
        ),
        (
            "/api/v1/nodes",
            list(vec![
                json!({"metadata": {"name": "node-1"}, "status": {"addresses": [
                {"type": "InternalIP", "address": "192.0.2.10"}]}}),
            ]),
        ),
        ("/version", json!({"gitVersion": "v1.36.3"})),
    ]
    .map(|(path, body)| (path.to_owned(), body))
    .into()
}

/// Answers one request.
fn answer(mut stream: TcpStream, objects: &Mutex<Served>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut part = [0; 1024];
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => request.extend(&part[..read]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let served = objects.lock().expect("objects");
    let found = served.bodies.get(path).map(|body| select(body, query));
    let (status, body) = match (served.refused.get(path), found) {
        (Some(status), _) => (*status, json!({"kind": "Status"})),
        (None, Some(body)) => (200, body),
        (None, None) => (404, json!({"kind": "Status"})),
    };
    let now = jiff::Timestamp::now().as_second() + served.ahead;
    let now = jiff::Timestamp::from_second(now).expect("time");
    let date = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now)
        .expect("a date");
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What a label selector leaves of a list.
fn select(body: &Value, query: &str) -> Value {
    let mut body = body.clone();
    let selector = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("labelSelector="));
    let Some((key, value)) = selector.and_then(|s| s.split_once("%3D")) else {
        return body;
    };
    if let Some(items) = body["items"].as_array_mut() {
        items.retain(|item| item["metadata"]["labels"][key] == value);
    }
    body
}
