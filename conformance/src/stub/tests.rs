// SPDX-License-Identifier: Apache-2.0

use std::io::{BufRead, Read};

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
    let node =
        |name: &str| json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": name } });
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
fn deletions_are_told_and_old_versions_are_refused() {
    let node = |name: &str| json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": name, "namespace": "" } });
    let stub = Stub::start(vec![node("a")]).expect("a server");
    let mut watch = ask(&stub, "/api/v1/nodes?watch=true&resourceVersion=1");
    stub.delete("Node", "", "a").expect("it is there");
    assert_eq!(event(&mut watch)["type"], "DELETED");
    assert!(stub.delete("Node", "", "a").is_err());
    let mut late = ask(&stub, "/api/v1/nodes?watch=true&resourceVersion=1");
    assert_eq!(event(&mut late)["object"]["code"], 410);
}

#[test]
fn whoever_is_connected_is_cut_off() {
    let stub = Stub::start(vec![]).expect("a server");
    let mut watch = ask(&stub, "/api/v1/nodes?watch=true&resourceVersion=0");
    stub.set_away(true);
    let mut rest = String::new();
    assert!(watch.read_to_string(&mut rest).is_err() || rest.is_empty());
    stub.set_away(false);
    ask(&stub, "/api/v1/nodes");
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
