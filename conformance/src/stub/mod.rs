// SPDX-License-Identifier: Apache-2.0
//! As much of an API server as a proxy needs, from memory: lists and watches over plain HTTP, for
//! machines on which etcd and a real one would be too much.
//!
//! Selectors, pages and old versions are not served. A watch that does not begin with a list
//! begins now, so objects must not change before those who list have begun to watch.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What is served: the plural, the kind and its version.
const KINDS: [(&str, &str, &str); 4] = [
    ("services", "Service", "v1"),
    ("nodes", "Node", "v1"),
    ("endpointslices", "EndpointSlice", "discovery.k8s.io/v1"),
    ("servicecidrs", "ServiceCIDR", "networking.k8s.io/v1"),
];

/// A certificate whose key nobody has.
const AUTHORITY: &str = include_str!("../testdata/ca.pem");

/// A running server, until the process ends.
#[derive(Debug, Clone)]
pub struct Stub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    /// By plural, then by namespace and name.
    objects: BTreeMap<&'static str, BTreeMap<String, Value>>,
    watches: BTreeMap<&'static str, Vec<Sender<String>>>,
}

/// A request: method, path, query and body.
struct Request {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
}

impl Stub {
    /// Listens on loopback, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If it cannot, or if an object is of a kind that is not served.
    pub fn start(objects: Vec<Value>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let stub = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
        };
        for object in objects {
            stub.put(object)?;
        }
        let server = stub.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A client that goes is no error.
                thread::spawn(move || drop(server.converse(&stream)));
            }
        });
        Ok(stub)
    }

    /// Writes a file by which clients find the server.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        // Not used, as it is plain HTTP. But a client that is told of none reads the system's.
        let authority = path.with_extension("pem");
        std::fs::write(&authority, AUTHORITY)?;
        let cluster = json!({
            "server": format!("http://{}", self.address), "certificate-authority": authority
        });
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{ "name": "stub", "cluster": cluster }],
            "users": [{ "name": "stub", "user": {} }],
            "contexts": [{ "name": "stub", "context": { "cluster": "stub", "user": "stub" } }],
        });
        std::fs::write(path, text.to_string()).with_context(|| path.display().to_string())
    }

    /// Adds an object or replaces it, and tells all who watch its kind.
    ///
    /// # Errors
    /// If its kind is not served.
    pub fn put(&self, mut object: Value) -> Result<()> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some((plural, ..)) = KINDS.iter().find(|k| k.1 == kind) else {
            bail!("the stub serves no {kind:?}");
        };
        let mut state = self.state();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let metadata = &object["metadata"];
        let name = format!("{}/{}", metadata["namespace"], metadata["name"]);
        let event = line("MODIFIED", &object);
        let all = state.objects.entry(plural).or_default();
        let event = match all.insert(name, object.clone()) {
            Some(_) => event,
            None => line("ADDED", &object),
        };
        let watches = state.watches.entry(plural).or_default();
        watches.retain(|watch| watch.send(event.clone()).is_ok());
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Answers one request after the other.
    fn converse(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            self.answer(&request, stream)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, mut stream: &TcpStream) -> Result<()> {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        let kind = KINDS.iter().find(|k| k.0 == last);
        let (code, body) = match (request.method.as_str(), kind) {
            ("GET", Some(kind)) if request.asks("watch") => {
                return self.watch(*kind, request, stream);
            }
            ("GET", Some(kind)) => (200, self.list(*kind)),
            ("GET", None) if last == "version" => (200, version()),
            ("GET", None) => self.one(&request.path),
            // Events: taken, and forgotten.
            _ => (201, String::from_utf8_lossy(&request.body).into_owned()),
        };
        let head = "Content-Type: application/json\r\nContent-Length";
        write!(
            stream,
            "HTTP/1.1 {code} Stub\r\n{head}: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(())
    }

    fn list(&self, (plural, kind, version): (&'static str, &str, &str)) -> String {
        let state = self.state();
        let items: Vec<_> = state
            .objects
            .get(plural)
            .into_iter()
            .flat_map(BTreeMap::values)
            .collect();
        json!({
            "kind": format!("{kind}List"), "apiVersion": version, "items": items,
            "metadata": { "resourceVersion": state.version.to_string() },
        })
        .to_string()
    }

    /// One object, by a path that ends with its plural and its name.
    fn one(&self, path: &str) -> (u16, String) {
        let state = self.state();
        let mut words = path.rsplit('/');
        let (name, plural) = (words.next(), words.next().unwrap_or_default());
        let mut all = state
            .objects
            .get(plural)
            .into_iter()
            .flat_map(BTreeMap::values);
        match all.find(|o| o["metadata"]["name"].as_str() == name) {
            Some(object) => (200, object.to_string()),
            None => (
                404,
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "NotFound", "code": 404, "message": format!("no {path}") })
                .to_string(),
            ),
        }
    }

    fn watch(
        &self,
        kind: (&'static str, &str, &str),
        request: &Request,
        mut stream: &TcpStream,
    ) -> Result<()> {
        let (sender, receiver) = channel();
        {
            let mut state = self.state();
            if request.asks("sendInitialEvents") {
                sender.send(initial(&state, kind))?;
            }
            state.watches.entry(kind.0).or_default().push(sender);
        }
        let head = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
        write!(stream, "HTTP/1.1 200 Stub\r\n{head}\r\n\r\n")?;
        send_all(&receiver, stream)
    }
}

/// All objects as events, and the event that says that these are all.
fn initial(state: &State, (plural, kind, version): (&str, &str, &str)) -> String {
    let mut text = String::new();
    for object in state
        .objects
        .get(plural)
        .into_iter()
        .flat_map(BTreeMap::values)
    {
        text += &line("ADDED", object);
    }
    text + &line(
        "BOOKMARK",
        &json!({ "kind": kind, "apiVersion": version, "metadata": {
            "resourceVersion": state.version.to_string(), "creationTimestamp": null,
            "annotations": { "k8s.io/initial-events-end": "true" } } }),
    )
}

fn send_all(events: &Receiver<String>, mut stream: &TcpStream) -> Result<()> {
    for event in events {
        let mut chunk = String::with_capacity(event.len() + 16);
        write!(chunk, "{:x}\r\n{event}\r\n", event.len())?;
        stream.write_all(chunk.as_bytes())?;
    }
    Ok(())
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn version() -> String {
    json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.0", "buildDate": "", "compiler": "",
        "gitCommit": "", "gitTreeState": "", "goVersion": "", "platform": "" })
    .to_string()
}

impl Request {
    /// None at the end of the connection.
    fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let method = words.next().context("no method")?.to_owned();
        let (path, query) = words
            .next()
            .map(|t| t.split_once('?').unwrap_or((t, "")))
            .context("no target")?;
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("content-length")?;
            }
        }
        let mut body = Vec::new();
        reader.take(length).read_to_end(&mut body)?;
        Ok(Some(Self {
            method,
            path,
            query,
            body,
        }))
    }

    fn asks(&self, word: &str) -> bool {
        let yes = |part: &str| {
            part.strip_prefix(word)
                .is_some_and(|v| matches!(v, "=true" | "=1"))
        };
        self.query.split('&').any(yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(stub: &Stub, target: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(stub.address).expect("it listens");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: stub\r\n\r\n").expect("it reads");
        let mut reader = BufReader::new(stream);
        let mut header = String::from("more");
        while !header.trim().is_empty() {
            header.clear();
            reader.read_line(&mut header).expect("headers");
        }
        reader
    }

    fn event(reader: &mut impl BufRead) -> Value {
        let mut text = String::new();
        // A chunk may hold many; its length and its end are no objects.
        while !text.starts_with('{') {
            text.clear();
            reader.read_line(&mut text).expect("an event");
        }
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn a_watch_begins_with_a_list_and_goes_on() {
        let node = |name: &str| json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": name } });
        let stub = Stub::start(vec![node("a")]).expect("a server");
        let mut watch = ask(&stub, "/api/v1/nodes?watch=true&sendInitialEvents=true");
        let types = [(); 2].map(|()| event(&mut watch)["type"].clone());
        assert_eq!(types, ["ADDED", "BOOKMARK"]);
        stub.put(node("b")).expect("served");
        stub.put(node("a")).expect("served");
        let changes = [(); 2].map(|()| event(&mut watch)["type"].clone());
        assert_eq!(changes, ["ADDED", "MODIFIED"]);
    }

    #[test]
    fn lists_and_single_objects() {
        let node = json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": "a" } });
        let stub = Stub::start(vec![node]).expect("a server");
        let read = |target: &str| {
            let mut text = vec![0; 16];
            ask(&stub, target).read_exact(&mut text).expect("a body");
            String::from_utf8(text).expect("text")
        };
        assert!(read("/api/v1/nodes").starts_with("{"));
        assert!(read("/api/v1/nodes/a").starts_with("{"));
        assert!(stub.put(json!({ "kind": "Pod" })).is_err());
    }
}
