// SPDX-License-Identifier: Apache-2.0
//! A watch against an API server that is a list of answers.

mod outage;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use kube::client::Body;
use tokio::sync::mpsc;

use super::*;
use crate::model::{Event, Observed};
use crate::watch::Meters;
use crate::watch::cluster::memory::{Memory, StateFile};
use crate::watch::wire::{Node, Service, ServiceCidr};

/// What a request must hold, and the status and lines of the answer. A watch whose answer ends in
/// `...` stays open.
type Answers = Arc<Mutex<VecDeque<(&'static str, u16, String)>>>;

fn client(answers: Answers) -> kube::Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let next = answers.lock().expect("no panic").pop_front();
        async move {
            let (wanted, code, text) = match next {
                Some(next) => next,
                None => std::future::pending().await,
            };
            let asked = request.uri().to_string();
            assert!(asked.contains(wanted), "{asked} lacks {wanted}");
            let (text, open) = match text.strip_suffix("...") {
                Some(text) => (text.to_owned(), true),
                None => (text, false),
            };
            let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(text)));
            let rest = futures_util::stream::pending().take(usize::from(open));
            let body = StreamBody::new(futures_util::stream::iter([frame]).chain(rest));
            Ok::<_, Infallible>(Response::builder().status(code).body(body).expect("valid"))
        }
    });
    kube::Client::new(service, "default")
}

fn service(kind: &str, name: &str, version: u32) -> String {
    let object = format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}"}},"spec":{{"clusterIP":"None"}}}}"#
    );
    format!(r#"{{"type":"{kind}","object":{object}}}"#) + "\n"
}

fn listed(version: u32) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"apiVersion":"v1","kind":"Service","metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
    ) + "\n"
}

fn status(code: u16, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"Some","code":{code}}}"#
    )
}

/// In short: what a test wants to see of an event.
fn short(event: &Event) -> String {
    match event {
        Event::Service(name, o) if *o == Observed::gone() => format!("{name}"),
        Event::Source { name, reason } => format!("{name}: {reason}"),
        Event::Synced => "synced".into(),
        other => format!("{other:?}"),
    }
}

/// The first `count` events that the answers make.
async fn events<K: Follow>(answers: Vec<(&'static str, u16, String)>, count: usize) -> Vec<String> {
    let memory = Memory::new(None, Meters::default());
    events_with::<K>(memory, answers, count).await
}

/// The same with a memory.
async fn events_with<K: Follow>(
    memory: Memory,
    answers: Vec<(&'static str, u16, String)>,
    count: usize,
) -> Vec<String> {
    let (events, mut receiver) = mpsc::channel(1);
    let shared = Shared {
        events,
        unlisted: AtomicUsize::new(1),
        meters: Meters::default(),
        memory,
    };
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let api = Api::all(client(answers));
    let collected = async {
        let mut seen = Vec::new();
        while seen.len() < count {
            seen.push(short(&receiver.recv().await.expect("an event")));
        }
        seen
    };
    tokio::select! {
        Closed = follow::<K>(api, "", "", Strategy::Streaming, &shared) => panic!("closed"),
        seen = collected => seen,
        () = sleep(Duration::from_secs(3600)) => panic!("not enough events"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_vanished_between_two_lists_is_gone() {
    let (start, end) = ("sendInitialEvents=true", listed(9));
    let first = service("ADDED", "a", 1) + &service("ADDED", "b", 2) + &listed(3);
    let expired = r#"{"type":"ERROR","object":"#.to_owned() + &status(410, "too old") + "}\n";
    let second = service("ADDED", "b", 2) + &end + "...";
    let answers = vec![(start, 200, first + &expired), (start, 200, second)];
    let seen = events::<Service>(answers, 5).await;
    // A headless Service is sent as gone as well: here, what was seen and what is missed.
    assert_eq!(seen, ["n/a", "n/b", "synced", "n/b", "n/a"]);
}

fn many(count: u32) -> String {
    let all = (0..count).map(|n| service("ADDED", &format!("s{n:02}"), n + 1));
    all.collect::<String>() + &listed(99)
}

#[tokio::test(start_paused = true)]
async fn many_that_vanish_at_once_are_kept_for_a_while() {
    let start = "sendInitialEvents=true";
    let expired = r#"{"type":"ERROR","object":"#.to_owned() + &status(410, "too old") + "}\n";
    let cut = || (start, 200, many(1) + &expired);
    let answers = vec![
        (start, 200, many(20) + &expired),
        cut(),
        (start, 200, many(8) + &service("DELETED", "s19", 1) + "..."),
    ];
    let seen = events::<Service>(answers, 20 + 1 + 1 + 1 + 8 + 1 + 1 + 11).await;
    let after = &seen[21..];
    assert_eq!(after[0], "n/s00", "what there is");
    assert!(after[1].contains("a new list lacks 19 of 20"), "{after:?}");
    assert!(after[2..10].iter().all(|name| name.starts_with("n/s0")));
    let mut rest = after[10..].to_vec();
    rest.retain(|line| line.starts_with("n/"));
    assert_eq!(rest[0], "n/s19", "by a word of its own");
    rest[1..].sort_unstable();
    let gone: Vec<String> = (8..19).map(|n| format!("n/s{n:02}")).collect();
    assert_eq!(rest[1..], gone, "in the end");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_stream_lists_is_asked_for_pages() {
    let refusal = status(422, "sendInitialEvents is forbidden");
    let page = r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","namespace":"n","resourceVersion":"1"},"spec":{"clusterIP":"None"}}]}"#;
    let answers = vec![
        ("sendInitialEvents=true", 422, refusal),
        ("limit=500", 200, page.to_owned()),
    ];
    assert_eq!(events::<Service>(answers, 2).await, ["n/a", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_that_is_stuck_is_asked_for_in_pages() {
    let page =
        r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[]}"#;
    let answers = vec![
        (
            "sendInitialEvents=true",
            200,
            service("ADDED", "a", 1) + "...",
        ),
        ("limit=500", 200, page.to_owned()),
    ];
    let seen = events::<Service>(answers, 3).await;
    assert_eq!(seen, ["n/a", "n/a", "synced"], "listed, then missed");
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_once_and_so_is_their_end() {
    let start = "sendInitialEvents=true";
    let busy = || (start, 429, status(429, "busy"));
    let cut = service("ADDED", "a", 1) + &listed(2);
    let resumed = "resourceVersion=2";
    let answers = vec![
        busy(),
        busy(),
        (start, 200, cut),
        (resumed, 500, status(500, "starting")),
        (resumed, 500, status(500, "starting")),
        (resumed, 200, "...".into()),
    ];
    let seen = events::<Service>(answers, 6).await;
    let told = [
        "services: busy (HTTP status 429)",
        "n/a",
        "services: ",
        "synced",
    ];
    assert_eq!(seen[..4], told);
    assert_eq!(
        seen[4..],
        ["services: starting (HTTP status 500)", "services: "]
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_from_the_past_is_listed_anew() {
    let start = "sendInitialEvents=true";
    let past = status(504, "Timeout: Too large resource version: 2, current: 1");
    let answers = vec![
        (start, 200, service("ADDED", "a", 1) + &listed(2)),
        ("resourceVersion=2", 504, past),
        (start, 200, listed(1) + "..."),
    ];
    let seen = events::<Service>(answers, 3).await;
    assert_eq!(seen, ["n/a", "synced", "n/a"], "listed, then missed");
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_holds_nobody_up_and_is_found_later() {
    let start = "sendInitialEvents";
    let missing = || (start, 404, status(404, "no such thing"));
    let found = service("ADDED", "a", 1) + &listed(2) + "...";
    let answers = vec![missing(), missing(), missing(), (start, 200, found)];
    let seen = events::<ServiceCidr>(answers, 2).await;
    assert_eq!(seen[0], "synced", "told in the log alone");
    assert!(seen[1].starts_with("ServiceCidr(\"a\""), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_not_be_seen_holds_nobody_up() {
    let forbidden = ("sendInitialEvents", 403, status(403, "you may not"));
    let seen = events::<Node>(vec![forbidden], 2).await;
    assert_eq!(seen, ["synced", "nodes: you may not (HTTP status 403)"]);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_needed_is_waited_for() {
    let forbidden = ("sendInitialEvents", 403, status(403, "you may not"));
    let allowed = ("sendInitialEvents", 200, listed(2) + "...");
    let seen = events::<Service>(vec![forbidden, allowed], 3).await;
    let told = "services: you may not (HTTP status 403)";
    assert_eq!(seen, [told, "synced", "services: "]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_as_too_old_is_not_asked_for_again() {
    let start = "sendInitialEvents=true";
    let answers = vec![
        (start, 200, service("ADDED", "a", 1) + &listed(2)),
        ("resourceVersion=2", 410, status(410, "too old")),
        (start, 200, listed(3) + "..."),
    ];
    let seen = events::<Service>(answers, 3).await;
    assert_eq!(seen, ["n/a", "synced", "n/a"], "listed, then missed");
}

/// A file of the last known state with one Service.
fn remembering(name: &str) -> (tempfile::TempDir, Memory) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.jsonl");
    let header = r#"{"ferrule":1,"node":"n1"}"#;
    let line = format!(
        r#"{{"kind":"Service","name":"n/{name}","object":{{"metadata":{{"name":"{name}","namespace":"n"}},"spec":{{"clusterIP":"None"}}}}}}"#
    );
    std::fs::write(&path, format!("{header}\n{line}\n")).expect("written");
    let file = StateFile {
        path,
        node: "n1".into(),
        serve: true,
    };
    (directory, Memory::new(Some(file), Meters::default()))
}

/// Attempts that fail at once have pauses between them, by then of several seconds.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_does_not_wait_for_the_next_attempt() {
    let (_directory, memory) = remembering("a");
    let refused = ("/api/v1/services", 503, status(503, "starting"));
    let begun = Instant::now();
    let seen = events_with::<Service>(memory, vec![refused; 20], 4).await;
    assert!(seen[0].starts_with("services: "), "{seen:?}");
    assert_eq!(seen[1], "n/a");
    assert_eq!(seen[3], "synced");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_served_until_the_server_has_listed() {
    let start = "sendInitialEvents=true";
    let (_directory, memory) = remembering("a");
    // The server says nothing for half a minute, then it has another Service.
    let page = r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"9"},
        "items":[{"metadata":{"name":"b","namespace":"n"},"spec":{"clusterIP":"None"}}]}"#;
    let answers = vec![
        (start, 200, "...".to_owned()),
        ("limit=500", 200, page.to_owned()),
        ("watch=true", 200, "...".to_owned()),
    ];
    let seen = events_with::<Service>(memory, answers, 6).await;
    let seen: Vec<&str> = seen
        .iter()
        .map(|text| &text[..text.len().min(30)])
        .collect();
    assert_eq!(
        seen,
        [
            "n/a",
            "last known state: the API serv",
            "synced",
            "n/b",
            "n/a",
            "last known state: ",
        ]
    );
}
