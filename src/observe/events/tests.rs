// SPDX-License-Identifier: Apache-2.0
//! Against a server on a loopback address that says what the test wants. Time is stopped where
//! pauses would be long: tokio then jumps to the next timer whenever nothing else is to be done.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::book::{BURST, INTERVAL, RESERVE};
use super::*;

/// More than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with the next writing request.
#[derive(Debug, Clone)]
enum Answer {
    Status(u16, &'static str),
    /// Too late for the client.
    Never,
}

#[derive(Debug, Default)]
struct Seen {
    /// Method, path and body of each writing request.
    writes: Vec<(Method, String, Value)>,
    /// Path and query of each list.
    lists: Vec<String>,
    answers: VecDeque<Answer>,
}

#[derive(Debug, Clone, Default)]
struct Server(Arc<Mutex<Seen>>);

impl Server {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no test has failed")
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let body = request.into_body().collect().await.expect("a body");
        if method == Method::GET {
            self.seen().lists.push(uri.to_string());
            let name = uri.query().and_then(|q| q.split("metadata.name%3D").nth(1));
            let name = name.and_then(|q| q.split('&').next()).expect("a name");
            let uid = format!("uid-of-{name}");
            let items = json!([{"metadata": {"name": name, "uid": uid}}]);
            return whole(
                200,
                &json!({"kind": "PartialObjectMetadataList", "items": items,
                "apiVersion": "meta.k8s.io/v1", "metadata": {}}),
            );
        }
        let body: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
        let answer = {
            let mut seen = self.seen();
            seen.writes
                .push((method, uri.path().to_owned(), body.clone()));
            seen.answers.pop_front()
        };
        match answer {
            None => whole(201, &json!({"metadata": {}})),
            Some(Answer::Never) => std::future::pending().await,
            Some(Answer::Status(code, cause)) => whole(
                code,
                &json!({"kind": "Status", "status": "Failure", "code": code, "message": "no",
                    "reason": "Because", "details": {"causes": [{"reason": cause}]}}),
            ),
        }
    }
}

fn whole(code: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = code.try_into().expect("a status");
    response
}

struct Running {
    server: Server,
    recorder: Recorder,
    task: JoinHandle<()>,
}

async fn start(answers: &[Answer]) -> Running {
    start_as(answers, PROXY).await
}

async fn start_as(answers: &[Answer], controller: &'static str) -> Running {
    let server = Server::default();
    server.seen().answers = answers.iter().cloned().collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = server.clone();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let server = serving.clone();
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    let client = crate::watch::client(None, Some(&url), &crate::watch::Meters::default()).await;
    let (recorder, inbox) = channel("n1");
    let inbox = inbox.reported_by(controller);
    let task = tokio::spawn(send(client.expect("a client"), inbox));
    Running {
        server,
        recorder,
        task,
    }
}

impl Running {
    async fn flush(&self) {
        self.recorder.flush(Duration::from_secs(3600)).await;
    }

    /// The bodies that were written, once all is done.
    async fn bodies(&self) -> Vec<Value> {
        self.flush().await;
        let seen = self.server.seen();
        seen.writes
            .iter()
            .map(|(_, _, body)| body.clone())
            .collect()
    }

    fn counts(&self) -> [u64; 3] {
        let counts = self.recorder.counts();
        [counts.written, counts.dropped, counts.failed]
    }
}

fn on_service(name: &str, note: &str) -> Notice {
    let regarding = ObjectRef {
        kind: "Service",
        namespace: "shop".into(),
        name: name.into(),
    };
    Notice::warning(regarding, FIELDS_SKIPPED, "Convert", note)
}

#[tokio::test]
async fn events_look_like_those_of_kube_proxy() {
    let running = start(&[]).await;
    running.recorder.starting();
    let refused = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    let web = ServiceName::new("shop", "web");
    running.recorder.health_check_failed(&web, 30100, &refused);
    running.recorder.not_listening(true, "in use".into());
    running.recorder.not_listening(false, "in use".into());
    let bodies = running.bodies().await;
    let host = nix::unistd::gethostname().expect("a host name");
    let instance = format!("kube-proxy-{}", host.to_string_lossy());
    let time = bodies[0]["eventTime"].as_str().expect("a time");
    assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len(), "{time}");
    let name = bodies[0]["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("n1.") && name.len() > 15, "{name}");
    assert_eq!(
        bodies[0],
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": name, "namespace": "default"}, "eventTime": time,
            "reportingController": "kube-proxy", "reportingInstance": instance,
            "action": "StartKubeProxy", "reason": "Starting", "type": "Normal",
            "regarding": {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-of-n1"}})
    );
    let brief = |body: &Value| {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        ["type", "reason", "action", "note"].map(text).join("|")
    };
    let briefs: Vec<_> = bodies[1..].iter().map(brief).collect();
    assert_eq!(
        briefs,
        [
            "Warning|FailedToStartServiceHealthcheck|Listen|node n1 failed to start healthcheck \
             \"shop/web\" on port 30100: address in use",
            "Warning|FailedToStartProxierHealthcheck|StartKubeProxy|in use",
            "Warning|FailedToStartMetricServer|StartKubeProxy|in use",
        ]
    );
    assert_eq!(
        bodies[1]["regarding"],
        json!({"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web",
            "uid": "uid-of-web"})
    );
    let seen = running.server.seen();
    assert_eq!(
        seen.writes[1].1,
        "/apis/events.k8s.io/v1/namespaces/shop/events"
    );
    assert!(
        seen.lists[1].starts_with("/api/v1/namespaces/shop/services?")
            && seen.lists[1].contains("resourceVersion=0"),
        "{}",
        seen.lists[1]
    );
}

#[tokio::test]
async fn what_all_nodes_find_has_one_name() {
    let mut names = Vec::new();
    for node in 0..2 {
        // The second one hears that it is there already.
        let answers = [Answer::Status(409, "")];
        let running = start(&answers[..node]).await;
        running.recorder.record(on_service("web", "x").shared());
        running.recorder.record(on_service("api", "x").shared());
        let bodies = running.bodies().await;
        let name = |body: &Value| body["metadata"]["name"].as_str().map(str::to_owned);
        names.push(bodies.iter().map(name).collect::<Vec<_>>());
        assert_eq!(running.counts(), [2, 0, 0]);
    }
    assert_eq!(names[0], names[1]);
    assert_ne!(names[0][0], names[0][1]);
}

#[tokio::test]
async fn another_program_reports_by_its_own_name() {
    let running = start_as(&[], "ferrule-ingress").await;
    running.recorder.record(on_service("web", "x"));
    let bodies = running.bodies().await;
    assert_eq!(bodies[0]["reportingController"], "ferrule-ingress");
    let instance = bodies[0]["reportingInstance"].as_str().expect("a name");
    assert!(instance.starts_with("ferrule-ingress-"), "{instance}");
}

#[tokio::test]
async fn long_texts_are_cut_to_what_the_server_takes() {
    let running = start(&[]).await;
    let (name, note) = ("a.".repeat(125) + "bcd", "ü".repeat(1000));
    running.recorder.record(on_service(&name, &note));
    let bodies = running.bodies().await;
    let note = bodies[0]["note"].as_str().expect("a note");
    assert!(note.len() <= 1024 && note.len() > 1020 && note.ends_with('…'));
    let name = bodies[0]["metadata"]["name"].as_str().expect("a name");
    assert!(
        name.starts_with("kube-proxy.") && name.len() <= 253,
        "{name}"
    );
}

/// Lets timers run ahead. Only for servers that answer at once, or never.
async fn jump(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
    // Real time, for what the timers have set in motion.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn repetitions_become_a_series() {
    let running = start(&[]).await;
    for _ in 0..3 {
        running.recorder.record(on_service("web", "x"));
    }
    assert_eq!(running.bodies().await.len(), 1);
    jump(INTERVAL).await;
    let bodies = running.bodies().await;
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[1]["series"]["count"], 3);
    assert!(bodies[1]["series"]["lastObservedTime"].is_string());
    assert_eq!(bodies[1].as_object().map(|o| o.len()), Some(1));
    let name = bodies[0]["metadata"]["name"].as_str().expect("a name");
    {
        let seen = running.server.seen();
        let (method, path, _) = &seen.writes[1];
        assert_eq!(*method, Method::PATCH);
        assert!(path.ends_with(&format!("/shop/events/{name}")), "{path}");
    }
    // The server has forgotten it meanwhile.
    running.server.seen().answers = [Answer::Status(404, "")].into();
    running.recorder.record(on_service("web", "x"));
    running.flush().await;
    jump(INTERVAL).await;
    let bodies = running.bodies().await;
    assert_eq!(bodies.len(), 4);
    assert_eq!(
        (&bodies[3]["series"]["count"], &bodies[3]["reason"]),
        (&json!(4), &json!("FieldsSkipped"))
    );
}

#[tokio::test]
async fn a_server_that_forbids_events_is_left_alone() {
    let running = start(&[Answer::Status(403, "")]).await;
    for name in ["a", "b", "c"] {
        running.recorder.record(on_service(name, "x"));
    }
    assert_eq!(running.bodies().await.len(), 1);
    assert_eq!(running.counts(), [0, 2, 1]);
    jump(Duration::from_secs(601)).await;
    running.recorder.record(on_service("a", "x"));
    assert_eq!(running.bodies().await.len(), 2, "allowed by now");
    assert_eq!(running.counts(), [1, 2, 1]);
}

#[tokio::test]
async fn what_is_refused_concerns_only_itself() {
    let gone = Answer::Status(403, "NamespaceTerminating");
    let running = start(&[gone, Answer::Status(422, ""), Answer::Status(404, "")]).await;
    for name in ["", "a", "b", "c", "d"] {
        running.recorder.record(on_service(name, "x"));
    }
    assert_eq!(running.bodies().await.len(), 4);
    assert_eq!(running.counts(), [1, 0, 3]);
}

#[tokio::test]
async fn a_server_in_trouble_is_tried_again() {
    let running = start(&[Answer::Status(500, ""), Answer::Status(429, "")]).await;
    running.recorder.record(on_service("web", "x"));
    let bodies = tokio::time::timeout(PATIENCE, running.bodies()).await;
    let bodies = bodies.expect("in time");
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0], bodies[2], "the very same Event");
    assert_eq!(running.counts(), [1, 0, 0]);
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_does_not_answer() {
    let running = start(&[Answer::Never]).await;
    running.recorder.record(on_service("web", "x"));
    while running.server.seen().writes.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = std::time::Instant::now();
    for number in 0..WAITING + 10 {
        let notice = on_service(&format!("s{number}"), "x").shared();
        running.recorder.record(notice);
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(running.counts(), [0, 10, 0], "the queue is full");
    running.recorder.flush(Duration::from_millis(10)).await;
    // It answers again after the client has given up once and paused.
    jump(Duration::from_secs(11)).await;
    jump(Duration::from_secs(2)).await;
    tokio::time::timeout(PATIENCE, running.flush())
        .await
        .expect("in time");
    let (written, waited) = (u64::from(BURST - RESERVE), WAITING as u64);
    assert_eq!(running.counts()[0], written);
    assert_eq!(
        running.counts()[1],
        10 + waited - (written - 1),
        "{:?}",
        running.counts()
    );
    let seen = running.server.seen();
    assert_eq!(seen.writes[0].2, seen.writes[1].2);
}

#[tokio::test]
async fn without_a_server_nothing_is_kept() {
    let (recorder, inbox) = channel("n1");
    drop(inbox);
    for _ in 0..WAITING * 2 {
        recorder.starting();
    }
    recorder.flush(PATIENCE).await;
    assert_eq!(recorder.counts(), Counts::default());
    Recorder::default().starting();
}

#[tokio::test]
async fn the_task_ends_with_its_last_recorder() {
    let running = start(&[]).await;
    drop(running.recorder);
    tokio::time::timeout(PATIENCE, running.task)
        .await
        .expect("in time")
        .expect("no panic");
}
