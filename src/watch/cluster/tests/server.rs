// SPDX-License-Identifier: Apache-2.0
//! As much of an API server as a watch needs, on a loopback address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::stream::{self, Stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How many objects the server puts on a page, whatever the client asks for.
const PAGE: usize = 2;

/// What the server does with a watch that shall begin with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streaming {
    /// Sends the list.
    Serve,
    /// Refuses, as with the feature switched off.
    Refuse,
    /// Accepts and then says in the stream that it can't, as with an old etcd.
    Fail,
}

#[derive(Debug)]
struct State {
    minor: &'static str,
    streaming: Streaming,
    /// By the plural of the kind.
    objects: HashMap<&'static str, Vec<Value>>,
    refused: HashMap<&'static str, u16>,
    /// By the plural of the kind, each with its query.
    watches: HashMap<String, Vec<(String, UnboundedSender<Bytes>)>>,
    /// Path and query of each request.
    requests: Vec<String>,
}

/// A server that is told what to answer.
#[derive(Debug, Clone)]
pub(super) struct Server {
    state: Arc<Mutex<State>>,
    pub(super) address: std::net::SocketAddr,
}

type Body = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

impl Server {
    /// Starts a server of Kubernetes 1.`minor`.
    pub(super) async fn start(minor: &'static str, streaming: Streaming) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let state = State {
            minor,
            streaming,
            objects: HashMap::new(),
            refused: HashMap::new(),
            watches: HashMap::new(),
            requests: Vec::new(),
        };
        let server = Self {
            state: Arc::new(Mutex::new(state)),
            address,
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let server = serving.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = server.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(connection), service),
                );
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has failed")
    }

    /// What the next list of a kind holds.
    pub(super) fn set(&self, plural: &'static str, objects: Vec<Value>) {
        self.state().objects.insert(plural, objects);
    }

    /// Answers with this HTTP status for a kind; 0 ends that.
    pub(super) fn refuse(&self, plural: &'static str, code: u16) {
        self.state().refused.insert(plural, code);
    }

    /// Sends an event to all watches of a kind.
    pub(super) fn send(&self, plural: &str, kind: &str, object: Value) {
        let line = line(kind, &object);
        let mut state = self.state();
        let watches = state.watches.entry(plural.to_owned()).or_default();
        watches.retain(|(query, watch)| match selected(&object, query) {
            true => watch.send(line.clone()).is_ok(),
            false => !watch.is_closed(),
        });
        assert!(!watches.is_empty(), "nobody watches {plural}");
    }

    /// How many watches of a kind are open.
    pub(super) fn watches(&self, plural: &str) -> usize {
        let state = self.state();
        let open = state.watches.get(plural).into_iter().flatten();
        open.filter(|(_, watch)| !watch.is_closed()).count()
    }

    /// Path and query of the requests for a kind.
    pub(super) fn requests(&self, plural: &str) -> Vec<String> {
        let state = self.state();
        state
            .requests
            .iter()
            .filter(|r| r.contains(plural))
            .cloned()
            .collect()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let mut state = self.state();
        state.requests.push(request.uri().to_string());
        let query = request.uri().query().unwrap_or_default();
        let plural = request.uri().path().rsplit('/').next().unwrap_or_default();
        if plural == "version" {
            return whole(200, &version(state.minor));
        }
        match state.refused.get(plural) {
            None | Some(0) => {}
            Some(code) => return refusal(*code),
        }
        if !query.contains("watch=true") {
            return whole(200, &page(state.objects.get(plural), query));
        }
        let initial = query.contains("sendInitialEvents=true");
        if initial && state.streaming == Streaming::Refuse {
            return refusal(422);
        }
        let (sender, receiver) = unbounded_channel();
        if initial && state.streaming == Streaming::Fail {
            let status = json!({"kind": "Status", "status": "Failure", "code": 500, "message": "etcd is old"});
            sender.send(line("ERROR", &status)).expect("open");
        } else {
            if initial {
                list_events(state.objects.get(plural), query, &sender);
            }
            state
                .watches
                .entry(plural.to_owned())
                .or_default()
                .push((query.to_owned(), sender));
        }
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((Ok(Frame::data(chunk)), receiver))
        });
        Response::new(StreamBody::new(Box::pin(chunks)))
    }
}

fn version(minor: &str) -> Value {
    json!({"major": "1", "minor": minor, "buildDate": "", "compiler": "", "gitCommit": "",
        "gitTreeState": "", "gitVersion": "", "goVersion": "", "platform": ""})
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}

/// Of field selectors, those of Secrets and ConfigMaps are honoured.
fn selected(object: &Value, query: &str) -> bool {
    let Some((_, selector)) = query.split_once("fieldSelector=") else {
        return true;
    };
    let selector = selector.split('&').next().unwrap_or_default();
    match (object["kind"].as_str(), selector.split_once("%3D")) {
        (Some("Secret"), Some(("type", _))) => object["type"] == "kubernetes.io/tls",
        (Some("Secret" | "ConfigMap" | "Node"), Some(("metadata.name", name))) => {
            object["metadata"]["name"] == name
        }
        (Some("Node"), Some(("metadata.name%21", name))) => object["metadata"]["name"] != name,
        _ => true,
    }
}

fn list_events(objects: Option<&Vec<Value>>, query: &str, sender: &UnboundedSender<Bytes>) {
    let objects = objects.into_iter().flatten();
    for object in objects.filter(|object| selected(object, query)) {
        sender.send(line("ADDED", object)).expect("open");
    }
    let end = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": "9",
        "annotations": {"k8s.io/initial-events-end": "true"}}});
    sender.send(line("BOOKMARK", &end)).expect("open");
}

fn page(objects: Option<&Vec<Value>>, query: &str) -> Value {
    let from: usize = query
        .split('&')
        .find_map(|part| part.strip_prefix("continue=from-"))
        .map_or(0, |n| n.parse().expect("our own token"));
    let all = objects.into_iter().flatten();
    let all: Vec<&Value> = all.filter(|object| selected(object, query)).collect();
    let to = all.len().min(from + PAGE);
    let next = (to < all.len()).then(|| format!("from-{to}"));
    json!({"kind": "List", "apiVersion": "v1", "items": all[from..to],
        "metadata": {"resourceVersion": "5", "continue": next.unwrap_or_default()}})
}

fn refusal(code: u16) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": "Because", "message": "the test says no"});
    whole(code, &status)
}

fn whole(code: u16, value: &Value) -> Response<Body> {
    let frame = Ok(Frame::data(Bytes::from(value.to_string())));
    let mut response: Response<Body> =
        Response::new(StreamBody::new(Box::pin(stream::iter([frame]))));
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    response
}
