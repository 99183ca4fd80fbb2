// SPDX-License-Identifier: Apache-2.0
//! As much of an API server as a proxy needs, from memory: lists and watches over plain HTTP, for
//! machines on which etcd and a real one would be too much.
//!
//! Selectors and pages are not served, nor are old versions: a watch from one of those is told so,
//! and begins with a new list.

mod request;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::request::Request;

/// What is served: the plural, the kind and its version.
const KINDS: [(&str, &str, &str); 4] = [
    ("services", "Service", "v1"),
    ("nodes", "Node", "v1"),
    ("endpointslices", "EndpointSlice", "discovery.k8s.io/v1"),
    ("servicecidrs", "ServiceCIDR", "networking.k8s.io/v1"),
];

/// A certificate whose key nobody has.
const AUTHORITY: &str = include_str!("../../testdata/ca.pem");

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
    /// Everything that is open.
    connections: Vec<TcpStream>,
    /// Nobody is answered.
    away: bool,
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
                if server.admit(&stream) {
                    // A client that goes is no error.
                    thread::spawn(move || drop(server.converse(&stream)));
                }
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

    /// Deletes an object, by its kind, namespace and name, and tells all who watch its kind.
    ///
    /// # Errors
    /// If there is no such object.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let Some((plural, ..)) = KINDS.iter().find(|k| k.1 == kind) else {
            bail!("the stub serves no {kind:?}");
        };
        let mut state = self.state();
        let key = format!("{}/{}", json!(namespace), json!(name));
        let all = state.objects.entry(plural).or_default();
        let mut object = all
            .remove(&key)
            .with_context(|| format!("no {kind} {key}"))?;
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let event = line("DELETED", &object);
        let watches = state.watches.entry(plural).or_default();
        watches.retain(|watch| watch.send(event.clone()).is_ok());
        Ok(())
    }

    /// Goes away: whoever is connected is cut off, and nobody is answered any more; or comes back.
    pub fn set_away(&self, away: bool) {
        let mut state = self.state();
        state.away = away;
        state.watches.clear();
        for connection in state.connections.drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn admit(&self, stream: &TcpStream) -> bool {
        let mut state = self.state();
        match (state.away, stream.try_clone()) {
            (false, Ok(clone)) => {
                state.connections.push(clone);
                true
            }
            _ => false,
        }
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
            let from = request.number("resourceVersion");
            if request.asks("sendInitialEvents") {
                sender.send(initial(&state, kind))?;
            } else if from.is_some_and(|from| from < state.version) {
                sender.send(expired())?;
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

/// What is said to a watch that goes on from what is no longer known.
fn expired() -> String {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": "Expired", "code": 410, "message": "too old resource version" });
    line("ERROR", &status)
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

#[cfg(test)]
mod tests;
